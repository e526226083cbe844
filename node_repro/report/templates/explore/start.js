// Start the panels that have data.
const { latent, flows, tolerances } = JSON.parse(element("data").textContent);
if (latent) new LatentPanel(latent);
if (flows.length) {
  new FlowPanel(flows);
  new InversionPanel(flows, tolerances);
}
document.documentElement.dataset.ready = "true";
