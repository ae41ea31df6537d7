"use strict";
(() => {
  const root = document.documentElement;
  window.addEventListener("error", (event) => { root.dataset.error = event.message; });
  const byId = (id) => document.getElementById(id);
  const pictures = JSON.parse(byId("pictures").textContent);
  const ORIGINAL = "original";

  const options = (select, labels, chosen) => {
    select.replaceChildren(...labels.map((label, index) => new Option(label, index)));
    select.selectedIndex = Math.min(chosen, labels.length - 1);
  };
  const picture = () => pictures[byId("picture").selectedIndex];
  const rate = () => picture().rates[byId("rate").selectedIndex];
  const versions = () => [
    { codec: ORIGINAL, caption: "lossless", source: picture().original },
    ...(rate() ? rate().versions : []),
  ];

  const divide = () => {
    const share = byId("slider").value / 10;
    byId("right-picture").style.clipPath = `inset(0 0 0 ${share}%)`;
    byId("divider").style.left = `${share}%`;
  };
  const show = () => {
    const zoom = Number(byId("zoom").value);
    const sheet = byId("sheet");
    sheet.style.width = `${picture().width * zoom}px`;
    sheet.style.height = `${picture().height * zoom}px`;
    sheet.classList.toggle("zoomed", zoom > 1);
    for (const side of ["left", "right"]) {
      const version = versions()[byId(side).selectedIndex];
      byId(`${side}-picture`).src = version.source;
      byId(`${side}-picture`).alt = `${picture().name}, ${version.codec}`;
      byId(`${side}-caption`).textContent = `${version.codec}: ${version.caption}`;
    }
    byId("crop-note").hidden = !picture().is_cropped;
    divide();
  };
  const chooseRate = () => {
    const names = versions().map((version) => version.codec);
    options(byId("left"), names, Math.max(names.indexOf("jpeg"), 0));
    const isOurs = (name) => name.startsWith("aec");
    options(byId("right"), names, Math.max(names.findIndex(isOurs), 0));
    show();
  };
  const choosePicture = () => {
    options(byId("rate"), picture().rates.map((entry) => entry.label), 0);
    chooseRate();
  };
  const drag = (event) => {
    if (event.buttons === 0) return;
    const box = byId("sheet").getBoundingClientRect();
    byId("slider").value = 1000 * (event.clientX - box.left) / box.width;
    divide();
  };

  const start = () => {
    byId("viewer").hidden = false;
    options(byId("picture"), pictures.map((entry) => entry.name), 0);
    byId("picture").addEventListener("change", choosePicture);
    byId("rate").addEventListener("change", chooseRate);
    for (const id of ["left", "right", "zoom"]) byId(id).addEventListener("change", show);
    byId("slider").addEventListener("input", divide);
    byId("sheet").addEventListener("pointerdown", drag);
    byId("sheet").addEventListener("pointermove", drag);
    choosePicture();
  };

  // Tells a test that every embedded picture can be decoded and that the plots have curves.
  const check = async () => {
    const sources = pictures.flatMap((entry) => [
      entry.original,
      ...entry.rates.flatMap((rate) => rate.versions.map((version) => version.source)),
    ]);
    let decoded = 0;
    for (const source of sources) {
      const image = new Image();
      await new Promise((resolve, reject) => {
        image.onload = resolve;
        image.onerror = () => reject(new Error("a picture cannot be decoded"));
        image.src = source;
      });
      decoded += image.naturalWidth > 0 ? 1 : 0;
    }
    root.dataset.decoded = decoded;
    root.dataset.curves = document.querySelectorAll(".plots svg polyline").length;
    root.dataset.ready = "true";
  };

  if (pictures.length > 0) start();
  check().catch((error) => { root.dataset.error = String(error); console.error(error); });
})();
