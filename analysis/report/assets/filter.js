// What is typed above the table of cells: words, of which a cell must match all.
// `key=value` is compared whole, numbers as numbers; a variant's name means that variant; any other word is looked for.
function filter(text, cell) {
  const words = text
    .toLowerCase()
    .split(/[\s,]+/)
    .filter(Boolean);
  const ofOptions = words.some((word) => word.includes("=") && !(word.split("=")[0] in cell(0).keys));
  return (i) => {
    const { name, keys, text: all } = cell(i);
    return words.every((word) => {
      const [key, value] = word.split("=", 2);
      if (value !== undefined) return value === "" || sameValue(keys[key], value);
      if (NAMES.has(word) && !ofOptions) return word === name;
      // Without its options, as in `lora alpha=16`: that variant with any.
      if (BASES.has(word)) return word === name.split(" ")[0];
      return all.includes(word);
    });
  };
}

const NAMES = new Set(VARIANTS.map((one) => one.name.toLowerCase()));
const BASES = new Set([...NAMES].map((name) => name.split(" ")[0]));

// `lr=6.3246e-4` and the `lr=6.325e-4` that tables show are the same.
function sameValue(known, wanted) {
  if (known === undefined || known === null) return false;
  const [a, b] = [Number(known), Number(wanted)];
  return Number.isNaN(a) || Number.isNaN(b) ? String(known) === wanted : a === b || formatLr(a) === formatLr(b);
}

// A variant's options by their keys: `lora alpha=16, dropout=0.1`.
const optionsOf = (name) => Object.fromEntries([...name.matchAll(/([^\s,=]+)=([^\s,]+)/g)].map((found) => found.slice(1)));
