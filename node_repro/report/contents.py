"""The report's sections in their order."""

from node_repro.report import (
    Section,
    curves,
    demo,
    figure4,
    figure5,
    figure7,
    figure8,
    provenance,
    table1,
    table2,
)

CONTENTS: tuple[Section, ...] = (
    table1.artifact,
    curves.artifact,
    figure4.artifact,
    figure5.artifact,
    figure7.artifact,
    table2.artifact,
    figure8.reconstructions,
    figure8.latent_space,
    figure8.by_count,
    demo.artifact,
    provenance.artifact,
)
