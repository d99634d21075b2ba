// The plainest peer on KDD-99 in stream order: squared deviations from a mean and variance that follow the stream, after
// the recipe of the published comparison. It shows that the rows and the protocol are those of the stored figures.
/** Columns that are texts: protocol, service, flag; each of their values becomes a column of its own. */
const TEXTS = [1, 2, 3]
const HALF_LIFE_EVENTS = 700
/** Residuals count up to here; steps of the mean and variance up to this many deviations. */
const RESIDUAL_MAX = 20
const STEP_MAX = 3
/** Least variance that counts, as a share of the column's among the first rows. */
const FLOOR_SHARE = 0.1

/**
 * Half the sum of squared residuals of each row: the first `warm` rows say what values a text has, how each column
 * scatters and which never change; those, and values not among them, count as the farthest residual where they differ.
 * `logs`: columns of which logarithms are taken.
 */
export const diagonalEnergies = (
  lines: ReadonlyArray<string>,
  warm: number,
  logs: ReadonlySet<number>
): Float64Array => {
  const cells = lines.map((line) => line.split(","))
  const values = TEXTS.map((text) => [...new Set(cells.slice(0, warm).map((row) => row[text]))])
  const numbers = cells[0]
    .map((_, column) => column)
    .filter((column) => !TEXTS.includes(column))
    .slice(0, -1)
  const width = numbers.length + values.reduce((sum, known) => sum + known.length, 0)
  const x = new Float64Array(width)
  /** Fills x; answers how many texts have a value that the first rows lack. */
  const encode = (row: ReadonlyArray<string>): number => {
    let at = 0
    let unseen = 0
    for (const column of numbers)
      x[at++] = logs.has(column) ? Math.log1p(Number(row[column])) : Number(row[column])
    x.fill(0, at)
    TEXTS.forEach((text, t) => {
      const place = values[t].indexOf(row[text])
      if (place < 0) unseen++
      else x[at + place] = 1
      at += values[t].length
    })
    return unseen
  }
  const first = new Float64Array(width)
  const mean = new Float64Array(width)
  const spread = new Float64Array(width)
  for (let i = 0; i < warm; i++) {
    encode(cells[i])
    for (let j = 0; j < width; j++) {
      if (i === 0) first[j] = x[j]
      const step = x[j] - mean[j]
      mean[j] += step / (i + 1)
      spread[j] += step * (x[j] - mean[j])
    }
  }
  const variance = new Float64Array(width)
  const pace = 1 - 2 ** (-1 / HALF_LIFE_EVENTS)
  return Float64Array.from(cells, (row, i) => {
    const far = RESIDUAL_MAX * RESIDUAL_MAX
    let sum = encode(row) * far
    const rate = Math.max(pace, 1 / (i + 1))
    for (let j = 0; j < width; j++) {
      if (spread[j] === 0) {
        if (x[j] !== first[j]) sum += far
        continue
      }
      if (i === 0) {
        mean[j] = x[j]
        continue
      }
      const deviation = Math.sqrt(variance[j] + (FLOOR_SHARE * spread[j]) / warm)
      const z = (x[j] - mean[j]) / deviation
      sum += Math.min(far, z * z)
      const step = Math.max(-STEP_MAX, Math.min(STEP_MAX, z)) * deviation
      mean[j] += rate * step
      variance[j] = (1 - rate) * (variance[j] + rate * step * step)
    }
    return sum / 2
  })
}
