// Text files of numbers, read as the command line reads them (io/text.py of the package): cells separated by commas,
// semicolons, tabs or blanks, with decimal points or commas, with a header or without, packed by gzip or not.
// Only a cell that is no number is treated otherwise: the command line stops there, the page leaves out the row.

const GREATEST = 64 * 2 ** 20; // largest number of characters read from a file
const GUESSED = 8192; // rows from which it is guessed what a column holds
const SNIFFED = 50; // lines from which the dialect is guessed
const FEWEST = 3; // rows below the first that show whether its numbers are names
const DIALECTS = ["\t.", "\t,", ";,", ";.", ",.", " .", " ,"]; // separator and decimal mark
const MISSING = ["", "na", "n/a", "nan", "null", "none", "?"];
const NUMBER = /^[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?)$/i;

/** The table in a file, as `parseCsv` gives it, and whether the file was cut. */
export async function readCsv(file) {
  const packed = file.name.toLowerCase().endsWith(".gz");
  const bytes = packed ? file.stream().pipeThrough(new DecompressionStream("gzip")) : file.stream();
  const reader = bytes.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (text.length <= GREATEST) {
    const { done, value } = await reader.read();
    if (done) return { ...parseCsv(text), cut: false };
    text += value;
  }
  await reader.cancel();
  return { ...parseCsv(text.slice(0, text.lastIndexOf("\n"))), cut: true };
}

/** The numeric columns of a text: their names, their values (NaN if a cell is no number), and notes on the reading. */
export function parseCsv(text) {
  const lines = text.replace(/^\uFEFF/, "").split(/\r\n|\n|\r/);
  const comments = lines.slice(0, lines.findIndex((line) => !line.startsWith("#")));
  const body = lines.slice(comments.length);
  const [separator, decimal] = dialectOf(body);
  const rows = rowsOf(body, separator);
  if (!rows.length) throw new Error("The file is empty: it needs two columns of numbers.");
  const notes = [];
  const width = rows[0].length;
  const names = namesInRow(rows, decimal, notes);
  if (names) rows.shift();
  const known = names ?? namesInComment(comments.at(-1), width, separator, decimal);
  const kinds = rows[0] ? rows[0].map((_, j) => kindOfColumn(rows.slice(0, GUESSED), j, decimal)) : [];
  const numeric = kinds.map((_, j) => j).filter((j) => kinds[j] === "number");
  if (!numeric.length) {
    throw new Error(
      "No numbers were found: the file needs two columns of numbers, separated by commas, semicolons, tabs or blanks.",
    );
  }
  if (numeric.length < 2) throw new Error("Only one column of numbers was found: two are needed.");
  const nameOf = (j) => known?.[j] || `column ${j + 1}`;
  if (numeric.length < width) {
    const others = kinds.flatMap((kind, j) => (kind === "number" ? [] : `${nameOf(j)} (${kind})`));
    notes.push(`${others.length} of ${width} columns hold no numbers and were left out: ${others.join(", ")}.`);
  }
  return {
    names: numeric.map(nameOf),
    columns: numeric.map((j) => Float64Array.from(rows, (row) => numberOf(row[j] ?? "", decimal))),
    notes,
  };
}

/** The two columns to show at first: the first ones that are neither constant nor a running number nor nearly empty. */
export function likelyPair(columns) {
  const isTelling = (column) => !isConstant(column) && !isIndex(column) && !isNearlyEmpty(column);
  const telling = columns.map((_, j) => j).filter((j) => isTelling(columns[j]));
  const others = columns.map((_, j) => j).filter((j) => !telling.includes(j));
  return [...telling, ...others].slice(0, 2);
}

/** The points (2 n) of the rows with a number in both columns, and the number of other rows. */
export function pointsOf(columns, [x, y]) {
  const points = [];
  for (let i = 0; i < columns[x].length; i++) {
    const point = [columns[x][i], columns[y][i]];
    if (point.every(Number.isFinite)) points.push(...point);
  }
  return { points: Float64Array.from(points), skipped: columns[x].length - points.length / 2 };
}

/** The separator and the decimal mark with which most cells of the first lines are numbers or missing. */
function dialectOf(lines) {
  const sample = lines.filter((line) => line.trim()).slice(0, SNIFFED);
  const shares = DIALECTS.map(([separator, decimal]) => {
    const rows = rowsOf(sample, separator);
    const even = rows.every((row) => row.length === rows[0].length);
    if (!rows.length || rows[0].length < 2 || (separator === " " && !even)) return -1;
    const kinds = rows.flat().map((cell) => kindOf(cell, decimal));
    return kinds.filter((kind) => kind !== "text").length / kinds.length;
  });
  const most = Math.max(...shares);
  return most < 0 ? [",", "."] : DIALECTS[shares.indexOf(most)];
}

/** The cells of the lines that are not blank. A quoted cell may hold separators and ends of lines. */
function rowsOf(lines, separator) {
  const rows = [];
  let open = null; // the lines of a row with an open quote
  for (const line of lines) {
    if (open === null && !line.trim()) continue;
    if (separator === " ") {
      rows.push(line.trim().split(/\s+/));
      continue;
    }
    const joined = open === null ? line : `${open}\n${line}`;
    const closed = joined.split('"').length % 2 === 1;
    open = closed ? null : joined;
    if (closed) rows.push(cells(joined, separator));
  }
  if (open !== null) rows.push(cells(open, separator));
  return rows;
}

function cells(line, separator) {
  if (!line.includes('"')) return line.split(separator);
  const found = [""];
  let quoted = false;
  for (const char of line) {
    if (char === '"') quoted = !quoted;
    else if (char === separator && !quoted) found.push("");
    else found[found.length - 1] += char;
  }
  return found;
}

/** The names in the first row, null if it holds data. */
function namesInRow(rows, decimal, notes) {
  const first = rows[0].map((cell) => cell.trim());
  const numbered = first[0] === "" ? first.slice(1) : first;
  if (numbered.length > 1 && numbered.every((cell, j) => cell === String(j))) return first;
  const kinds = first.map((cell) => kindOf(cell, decimal));
  if (!kinds.includes("number")) return kinds.includes("text") ? first : null;
  const are = numbersAreNames(first, kinds, rows.slice(1, GUESSED), decimal);
  if (are === null) return null;
  notes.push(
    `The first row (${first.join(", ")}) looks like column names, and was read as ${are ? "column names" : "data"}.`,
  );
  return are ? first : null;
}

/** Whether a first row that holds numbers holds names; null if it does not look like that. */
function numbersAreNames(first, kinds, below, decimal) {
  const places = first.map((_, j) => j);
  const numbers = places.filter((j) => kinds[j] === "number");
  const written = new Set(numbers.map((j) => first[j]));
  if (written.size < numbers.length || !numbers.every((j) => /^\d+$/.test(first[j]))) return null;
  const words = places.filter((j) => kinds[j] === "text");
  if (below.length && words.some((j) => kindOfColumn(below, j, decimal) === "number")) return true;
  const columns = numbers.map((j) => below.map((row) => numberOf(row[j] ?? "", decimal)).filter((x) => !Number.isNaN(x)));
  if (numbers.length < 2 || columns.some((column) => column.length < FEWEST)) return null;
  if (numbers.every((j, k) => isFar(Number(first[j]), columns[k]))) return true;
  return columns.every((column) => column.some((value) => value % 1)) ? false : null;
}

/** Whether a value is farther from all others than they are from each other. */
function isFar(value, others) {
  const [low, high] = [Math.min(...others), Math.max(...others)];
  return Math.max(low - value, value - high) > high - low;
}

/** The names in a comment if there is one for each column, else null. */
function namesInComment(comment, width, separator, decimal) {
  const row = comment ? (rowsOf([comment.replace(/^#+/, "").trim()], separator)[0] ?? []) : [];
  const names = row.map((cell) => cell.trim());
  return names.length === width && names.every((name) => kindOf(name, decimal) === "text") ? names : null;
}

function kindOfColumn(rows, j, decimal) {
  const kinds = rows.map((row) => kindOf(row[j] ?? "", decimal));
  const [numbers, others] = ["number", "text"].map((kind) => kinds.filter((found) => found === kind).length);
  return others > numbers ? "text" : numbers ? "number" : "empty";
}

function kindOf(cell, decimal) {
  const text = cell.trim();
  if (MISSING.includes(text.toLowerCase())) return "missing";
  return NUMBER.test(withPoint(text, decimal)) ? "number" : "text";
}

function numberOf(cell, decimal) {
  if (kindOf(cell, decimal) !== "number") return NaN;
  return Number(withPoint(cell.trim(), decimal).replace(/inf(inity)?/i, "Infinity"));
}

function withPoint(text, decimal) {
  if (decimal === ".") return text;
  return text.includes(".") ? "" : text.replace(",", ".");
}

const isConstant = (column) => new Set(column.filter((value) => !Number.isNaN(value))).size === 1;

const isNearlyEmpty = (column) => 2 * column.filter(Number.isFinite).length < column.length;

const isIndex = (column) =>
  column.length > 2 && column.every((value, i) => i === 0 || value === column[i - 1] + 1);
