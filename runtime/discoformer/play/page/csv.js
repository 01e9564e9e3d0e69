// CSV files: cells separated by commas, semicolons, tabs or blanks, with or without a header. Cells may be quoted.
// Lines that start with # are comments.

const GREATEST = 64 * 2 ** 20; // largest number of bytes read from a file
const SEPARATORS = [",", ";", "\t"];

/** The numeric columns of a file: their names, their values (NaN if a cell is not a number), and whether it was cut. */
export async function readCsv(file) {
  const cut = file.size > GREATEST;
  const text = await (cut ? file.slice(0, GREATEST) : file).text();
  return { ...parseCsv(cut ? text.slice(0, text.lastIndexOf("\n")) : text), cut };
}

/** The numeric columns of a text. */
export function parseCsv(text) {
  const lines = text
    .replace(/^\uFEFF/, "")
    .split(/\r\n|\n|\r/)
    .filter((line) => line.trim() && !line.startsWith("#"));
  if (!lines.length) throw new Error("The file is empty: it needs two columns of numbers.");
  const separator = separatorOf(lines[0]);
  const first = cells(lines[0], separator);
  const number = separator === "," ? numberOf : (cell) => numberOf(cell.replace(",", "."));
  const header = first.some((cell) => cell.trim() && Number.isNaN(number(cell)));
  const rows = header ? lines.slice(1) : lines;
  const columns = first.map(() => new Float64Array(rows.length));
  const filled = first.map(() => 0);
  const good = first.map(() => 0);
  rows.forEach((line, i) => {
    const row = cells(line, separator);
    columns.forEach((column, j) => {
      const cell = row[j]?.trim() ?? "";
      column[i] = number(cell);
      if (cell) filled[j] += 1;
      if (Number.isFinite(column[i])) good[j] += 1;
    });
  });
  const numeric = first.map((_, j) => j).filter((j) => good[j] > 0 && good[j] >= filled[j] / 2);
  if (!numeric.length) {
    throw new Error(
      "No numbers were found: the file needs two columns of numbers, separated by commas, semicolons, tabs or blanks.",
    );
  }
  if (numeric.length < 2) {
    throw new Error("Only one column of numbers was found: two are needed.");
  }
  return {
    names: numeric.map((j) => (header && first[j].trim()) || `column ${j + 1}`),
    columns: numeric.map((j) => columns[j]),
  };
}

/** The two columns to show at first: the first ones that are neither constant nor a running number. */
export function likelyPair(columns) {
  const telling = columns.map((_, j) => j).filter((j) => !isConstant(columns[j]) && !isIndex(columns[j]));
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

function separatorOf(line) {
  const counts = SEPARATORS.map((separator) => cells(line, separator).length);
  const most = Math.max(...counts);
  return most > 1 ? SEPARATORS[counts.indexOf(most)] : " ";
}

function cells(line, separator) {
  if (separator === " ") return line.trim().split(/\s+/);
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

function numberOf(cell) {
  const text = cell.trim();
  return text ? Number(text) : NaN;
}

const isConstant = (column) => new Set(column.filter((value) => !Number.isNaN(value))).size === 1;

const isIndex = (column) =>
  column.length > 2 && column.every((value, i) => i === 0 || value === column[i - 1] + 1);
