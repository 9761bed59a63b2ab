// The version that a reader points at: the slider says which, both charts and the line below show it.

const VERSIONS = DATA.versions;
const slider = byId("at");

function tell() {
  const at = Number(slider.value);
  const [version, date, subject, change, norm] = VERSIONS[at];
  const x = VERSIONS.length > 1 ? (400 * at) / (VERSIONS.length - 1) : 0;
  for (const cursor of document.querySelectorAll(".cursor")) cursor.setAttribute("d", `M${x.toFixed(1)} 0V100`);
  const numbers = make("span", { class: "numbers" }, `D ${change}, norm ${norm}`);
  byId("said").replaceChildren(make("b", {}, version), ` ${date} `, subject, numbers);
  slider.setAttribute("aria-valuetext", `${version}, ${date}`);
  const rows = document.querySelector(".versions").tBodies[0].rows;
  for (const row of document.querySelectorAll(".versions .told-of")) row.classList.remove("told-of");
  rows[VERSIONS.length - 1 - at].classList.add("told-of");
}

function point(event) {
  const field = event.currentTarget.getBoundingClientRect();
  const share = (event.clientX - field.left) / field.width;
  slider.value = Math.round(share * (VERSIONS.length - 1));
  choose("at", slider.value);
  tell();
}

if (slider) {
  if (chosen.has("at")) slider.value = chosen.get("at");
  slider.addEventListener("input", () => {
    choose("at", slider.value);
    tell();
  });
  for (const field of document.querySelectorAll(".history svg")) {
    field.addEventListener("pointermove", point);
    field.addEventListener("pointerdown", point);
  }
  tell();
}
