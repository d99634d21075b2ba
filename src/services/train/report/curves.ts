// The curves of an evaluation from the energies of normal rows and of anomalies: points for a drawing, few however many rows.

/** Both coordinates in [0, 1]. */
export interface Point {
  readonly x: number
  readonly y: number
}

/** Least step between two points of a curve along either axis: less than a pixel of the drawing. */
const STEP = 1 / 400

/** Calls `visit` from the highest energy down, once for each distinct energy, with the rows at or above it. */
const descend = (
  normals: Float32Array,
  anomalies: Float32Array,
  visit: (falseAlarms: number, hits: number) => void
): void => {
  let normal = normals.length
  let anomaly = anomalies.length
  while (normal > 0 || anomaly > 0) {
    const energy = Math.max(
      normal > 0 ? normals[normal - 1] : Number.NEGATIVE_INFINITY,
      anomaly > 0 ? anomalies[anomaly - 1] : Number.NEGATIVE_INFINITY
    )
    while (normal > 0 && normals[normal - 1] >= energy) normal--
    while (anomaly > 0 && anomalies[anomaly - 1] >= energy) anomaly--
    visit(normals.length - normal, anomalies.length - anomaly)
  }
}

/** Drops points nearer than `STEP` to the one kept before, but for those from which the curve leaps. */
const thinned = () => {
  const kept: Array<Point> = []
  let held: Point | undefined
  const far = (a: Point, b: Point) => Math.abs(a.x - b.x) >= STEP || Math.abs(a.y - b.y) >= STEP
  return {
    add: (point: Point) => {
      const last = kept.at(-1)
      if (last === undefined || far(last, point)) {
        if (held !== undefined && far(held, point)) kept.push(held)
        kept.push(point)
        held = undefined
      } else held = point
    },
    end: (): ReadonlyArray<Point> => (held === undefined ? kept : [...kept, held])
  }
}

/** x: share of normal rows that alarm, y: share of anomalies caught, from (0, 0) to (1, 1). Energies ascend. */
export const rocCurve = (normals: Float32Array, anomalies: Float32Array): ReadonlyArray<Point> => {
  const curve = thinned()
  curve.add({ x: 0, y: 0 })
  descend(normals, anomalies, (falseAlarms, hits) => {
    curve.add({ x: falseAlarms / normals.length, y: hits / anomalies.length })
  })
  return curve.end()
}

/**
 * x: recall, y: precision where it is reached. Precision holds back to the recall of the point before, so that
 * the steps enclose the average precision. Energies ascend.
 */
export const precisionRecallCurve = (
  normals: Float32Array,
  anomalies: Float32Array
): ReadonlyArray<Point> => {
  const points: Array<Point> = []
  let held: Point | undefined
  let before = 0
  descend(normals, anomalies, (falseAlarms, hits) => {
    if (hits === before) return
    before = hits
    const point = { x: hits / anomalies.length, y: hits / (hits + falseAlarms) }
    held = point
    if (point.x - (points.at(-1)?.x ?? 0) < STEP && points.length > 0) return
    points.push(point)
    held = undefined
  })
  return held === undefined ? points : [...points, held]
}

/** Probabilities at which the calibration is looked at: eight for each power of ten down to a millionth. */
export const nominals: ReadonlyArray<number> = Array.from({ length: 49 }, (_, at) =>
  at % 8 === 0 ? Number(`1e-${at / 8}`) : 10 ** (-at / 8)
)

export interface CalibrationPoint {
  readonly nominal: number
  /** Share of normal rows with a p-value of at most `nominal`. */
  readonly observed: number
  /** Central 95 % of that share, were the p-values exact. */
  readonly low: number
  readonly high: number
}

/** ln Γ(x), x > 0 (Lanczos, g = 7). */
const lnGamma = (x: number): number => {
  const weights = [
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
    12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7
  ]
  const sum = weights.reduce((total, weight, at) => (at === 0 ? weight : total + weight / (x - 1 + at)), 0)
  const t = x + 6.5
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(sum)
}

/** The counts between which the central `share` of Binomial(trials, chance) lies. */
export const binomialBand = (trials: number, chance: number, share: number): readonly [number, number] => {
  if (chance <= 0) return [0, 0]
  if (chance >= 1) return [trials, trials]
  const tail = (1 - share) / 2
  const reach = 9 * Math.sqrt(trials * chance * (1 - chance)) + 20
  const from = Math.max(0, Math.floor(trials * chance - reach))
  const to = Math.min(trials, Math.ceil(trials * chance + reach))
  let below = 0
  let low = -1
  for (let count = from; count <= to; count++) {
    const lnMass =
      lnGamma(trials + 1) -
      lnGamma(count + 1) -
      lnGamma(trials - count + 1) +
      count * Math.log(chance) +
      (trials - count) * Math.log1p(-chance)
    below += Math.exp(lnMass)
    if (low < 0 && below > tail) low = count
    if (below >= 1 - tail) return [Math.max(0, low), count]
  }
  return [Math.max(0, low), to]
}

/** counts: for each of `nominals`, how many of the normal rows have a p-value of at most it. */
export const calibrationCurve = (
  counts: ArrayLike<number>,
  normals: number
): ReadonlyArray<CalibrationPoint> =>
  nominals.flatMap((nominal, at) => {
    // Where fewer than one row is expected, a share says nothing.
    if (nominal * normals < 1) return []
    const [low, high] = binomialBand(normals, nominal, 0.95)
    return [{ nominal, observed: counts[at] / normals, low: low / normals, high: high / normals }]
  })
