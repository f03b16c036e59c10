// How numbers are written: as in the terminal's tables.
const isNumber = (value) => typeof value === "number";
const DASH = "–";

function formatLr(lr) {
  if (!isNumber(lr)) return DASH;
  const [mantissa, exponent] = lr.toExponential(3).split("e");
  return `${mantissa.replace(/\.?0+$/, "")}e${Number(exponent)}`;
}

// Half to even, as tables and sentences have it from Python: 2.125 is 2.12 in all of them.
const fixed = (value, digits) =>
  value.toLocaleString("en-US", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
    roundingMode: "halfEven",
    useGrouping: false,
  });
const percent = (value, digits = 2) => (isNumber(value) ? fixed(100 * value, digits) : DASH);
const signed = (value) => (isNumber(value) ? `${value < 0 ? "−" : "+"}${fixed(Math.abs(100 * value), 2)}` : DASH);
const score = (mean, std) => (isNumber(std) ? `${percent(mean)} ± ${percent(std)}` : percent(mean));
const whole = (value) => (isNumber(value) ? value.toLocaleString("en-US") : DASH);

function number(value) {
  if (!isNumber(value)) return DASH;
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)) return value.toExponential(2).replace("e+", "e");
  return Math.abs(value) < 1000 ? value.toPrecision(3) : Math.round(value).toLocaleString("en-US");
}

const interval = (low, high, write) => (isNumber(low) && isNumber(high) ? `[${write(low)}, ${write(high)}]` : DASH);
const probability = (p) => (!isNumber(p) ? DASH : p < 0.001 ? "< 0.001" : p.toFixed(3));
const needed = (value) => (value === "inf" ? "∞" : whole(value));

function place(one) {
  const samples = one.train_samples === null ? "all samples" : `${one.train_samples} samples`;
  return `rank ${one.rank} · batch ${one.batch_size} · ${samples} · ${one.epochs} epoch${one.epochs === 1 ? "" : "s"}`;
}
