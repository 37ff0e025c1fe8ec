(async () => {
  const canvas = document.getElementById("canvas");
  const place = document.getElementById("place");
  const say = (text) => {
    const paragraph = document.createElement("p");
    paragraph.textContent = text;
    canvas.replaceWith(paragraph);
  };
  if (typeof niivue === "undefined") return say("niivue.js was not found beside this page.");
  if (!document.createElement("canvas").getContext("webgl2")) return say("This browser has no WebGL 2, which the 3D view needs.");

  const nv = new niivue.Niivue({
    backColor: [0, 0, 0, 1],
    crosshairColor: [1, 1, 1, 0.5],
    crosshairWidth: 0.5,
    dragAndDropEnabled: false,
    isRadiologicalConvention: true,
    sagittalNoseLeft: true,
    show3Dcrosshair: false,
    multiplanarShowRender: niivue.SHOW_RENDER.NEVER,
    isColorbar: false,
  });
  await nv.attachToCanvas(canvas);
  const load = (base64, name, rest) => niivue.NVImage.loadFromBase64({ base64, name, ...rest });
  nv.addVolume(await load(data.ct, "ct.nii.gz", { colormap: "gray", cal_min: 0, cal_max: 255 }));
  const labels = await load(data.labels, "labels.nii.gz", {});
  labels.setColormapLabel(data.palette);
  nv.addVolume(labels);

  const slider = document.getElementById("opacity");
  const buttons = document.querySelectorAll("button[data-view]");
  let view = location.hash === "#slices" ? "slices" : "solid";
  if (view === "slices") slider.value = 60;
  const show = () => {
    const solid = view === "solid";
    nv.setSliceType(solid ? niivue.SLICE_TYPE.RENDER : niivue.SLICE_TYPE.MULTIPLANAR);
    nv.setOpacity(0, solid ? 0 : 1); // in 3D the body would hide the spine
    nv.setOpacity(1, slider.value / 100);
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.view === view));
  };
  for (const button of buttons) {
    button.onclick = () => {
      if (view !== button.dataset.view) slider.value = button.dataset.view === "solid" ? 100 : 60;
      view = button.dataset.view;
      show();
    };
  }
  slider.oninput = show;
  nv.onLocationChange = (where) => {
    const value = where.values[1] ? Math.round(where.values[1].value) : 0;
    const [x, y, z] = where.mm;
    place.textContent = `${data.palette.labels[value] || "no vertebra"} at ${x.toFixed(0)}, ${y.toFixed(0)}, ${z.toFixed(0)} mm`;
  };
  const legend = document.getElementById("legend");
  for (const vertebra of data.vertebrae) {
    const chip = document.createElement("button");
    const channel = (name) => data.palette[name][vertebra.id];
    chip.textContent = vertebra.name;
    chip.style.borderLeftColor = `rgb(${channel("R")}, ${channel("G")}, ${channel("B")})`;
    chip.onclick = () => {
      nv.scene.crosshairPos = nv.mm2frac(vertebra.mm);
      nv.createOnLocationChange();
      nv.drawScene();
    };
    legend.append(chip);
  }
  if (data.vertebrae.length) nv.scene.crosshairPos = nv.mm2frac(data.vertebrae[Math.floor(data.vertebrae.length / 2)].mm);
  nv.setRenderAzimuthElevation(120, 10);
  show();
  document.body.dataset.ready = "yes";
})();
