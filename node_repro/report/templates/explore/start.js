// Start the panels that have data.
const { latent, flows, tolerances, digits } = JSON.parse(element("data").textContent);
if (latent) new LatentPanel(latent);
if (flows.length) {
  new FlowPanel(flows);
  new InversionPanel(flows, tolerances);
}
if (digits) new DigitsPanel(digits);
document.documentElement.dataset.ready = "true";
