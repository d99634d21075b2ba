// Raw feature rows to model space, fitted once and written into the graph: training runs the same nodes as serving.
import type { Expression, GraphBuilder } from "./graph.ts"
import type { Table } from "./session.ts"

/** What an input column holds: a number, or the position of a category's value (−1 unseen, −2 missing). */
export interface InputColumn {
  readonly kind: "number" | "category"
  /** Numbers: take sign(x)·log(1 + |x|) first. */
  readonly log: boolean
  /**
   * Numbers: a spread below this is taken for an accident of a short training time. For numbers whose unit is
   * known beforehand, such as deviations or nats; a constant one is then a number like any other.
   */
  readonly spreadMin?: number
}

/** One column of model space: z = clip((u − centre) · scale, ±20). */
export interface EncodedColumn {
  readonly feature: number
  /** u: the number itself, its logarithm, 1 where the category has `level`, or 1 where the number is missing. */
  readonly source: "linear" | "log" | "level" | "missing"
  readonly level: number
  readonly centre: number
  readonly scale: number
}

/** Something that no training row did. `level`: this value; `differs`: any value but this one. */
export interface Novelty {
  readonly feature: number
  readonly source: "level" | "differs" | "missing" | "present"
  readonly level: number
}

export interface Encoder {
  readonly inputs: ReadonlyArray<InputColumn>
  /** What a missing number is replaced by: the training median; −2 for categories. */
  readonly fill: Float32Array
  /** In the order of the graph: linear, log, level, missing. */
  readonly columns: ReadonlyArray<EncodedColumn>
  /** In the order of the graph: level, differs, missing, present. */
  readonly novelties: ReadonlyArray<Novelty>
  /**
   * Nats that one novelty adds: at least −log of the share 1/(n + 2) that Laplace's rule gives what n rows never
   * did, and as much as lies between the middle and the highest hundredth of the fitted rows' energies, so that
   * a row that does what none did stands out from those that only were rare.
   */
  readonly noveltyNats: number
}

/** Missing category in a feature row; −1 is a value that training had no column for. */
const MISSING = -2
/** Model space ends here on either side, in spreads. */
export const CLIP = 20
/** A number beyond this counts as this while fitting, so that sums of squares stay finite. */
const FIT_LIMIT = 1e30
/** Rows of this many elements make the vector part of ONNX Runtime's kernels cover all of them; see `evenly`. */
export const LANES = 16

const squash = (value: number) => Math.sign(value) * Math.log1p(Math.abs(value))

/** The value in the unit of the input column that model-space value `z` of a number stands for. */
export const decodeNumber = (column: EncodedColumn, z: number): number => {
  const u = column.centre + z / column.scale
  return column.source === "log" ? Math.sign(u) * Math.expm1(Math.min(Math.abs(u), 69)) : u
}

interface Moments {
  readonly median: number
  readonly mean: number
  readonly deviation: number
  readonly distinct: boolean
}

/** Over the finite values, sorted here. Infinite ones are left to the clip. */
const moments = (values: Float32Array): Moments => {
  values.sort()
  let sum = 0
  for (const value of values) sum += value
  const mean = sum / values.length
  let squares = 0
  for (const value of values) squares += (value - mean) * (value - mean)
  return {
    median: values[values.length >> 1],
    mean,
    deviation: Math.sqrt(squares / values.length),
    distinct: values[0] !== values[values.length - 1]
  }
}

/**
 * Fits an encoder. Numbers are centred on their mean and scaled by their standard deviation, not by median
 * and MAD: the trim has already taken the rows that would pull them, and a MAD of a column that is mostly one
 * value (counts, flags, rates) is zero or so small that every other value lands on the clip.
 */
export const fitEncoder = (table: Table, inputs: ReadonlyArray<InputColumn>): Encoder => {
  const fill = new Float32Array(inputs.length)
  const columns: Array<EncodedColumn> = []
  const novelties: Array<Novelty> = []
  const scratch = new Float32Array(table.count)
  for (let feature = 0; feature < inputs.length; feature++) {
    if (inputs[feature].kind === "category") {
      fill[feature] = MISSING
      fitLevels(table, feature, columns, novelties)
    } else fitNumber(table, feature, inputs[feature], scratch, fill, columns, novelties)
  }
  const byColumn = ["linear", "log", "level", "missing"]
  const byNovelty = ["level", "differs", "missing", "present"]
  return {
    inputs,
    fill,
    columns: columns.sort((a, b) => byColumn.indexOf(a.source) - byColumn.indexOf(b.source)),
    novelties: novelties.sort((a, b) => byNovelty.indexOf(a.source) - byNovelty.indexOf(b.source)),
    noveltyNats: Math.log(table.count + 2)
  }
}

const flag = (feature: number, source: "level" | "missing", level: number, share: number): EncodedColumn => ({
  feature,
  source,
  level,
  centre: share,
  scale: 1 / Math.sqrt(share * (1 - share))
})

const fitNumber = (
  { rows, count, width }: Table,
  feature: number,
  input: InputColumn,
  scratch: Float32Array,
  fill: Float32Array,
  columns: Array<EncodedColumn>,
  novelties: Array<Novelty>
) => {
  let present = 0
  let missing = 0
  for (let row = 0; row < count; row++) {
    const value = rows[row * width + feature]
    if (Number.isNaN(value)) missing++
    else scratch[present++] = Math.max(-FIT_LIMIT, Math.min(FIT_LIMIT, value))
  }
  if (present === 0) {
    novelties.push({ feature, source: "present", level: 0 })
    return
  }
  const values = scratch.subarray(0, present)
  const raw = moments(values)
  fill[feature] = raw.median
  if (missing > 0) columns.push(flag(feature, "missing", 0, missing / count))
  else novelties.push({ feature, source: "missing", level: 0 })
  const spreadMin = input.spreadMin ?? 0
  if (!raw.distinct && spreadMin === 0) {
    novelties.push({ feature, source: "differs", level: raw.median })
    return
  }
  if (input.log) for (let at = 0; at < present; at++) values[at] = squash(values[at])
  const { mean, deviation } = input.log ? moments(values) : raw
  const source = input.log ? "log" : "linear"
  columns.push({ feature, source, level: 0, centre: mean, scale: 1 / Math.max(deviation, spreadMin, 1e-30) })
}

const fitLevels = (
  { rows, count, width }: Table,
  feature: number,
  columns: Array<EncodedColumn>,
  novelties: Array<Novelty>
) => {
  const seen = new Map<number, number>([
    [-1, 0],
    [MISSING, 0]
  ])
  for (let row = 0; row < count; row++) {
    const value = rows[row * width + feature]
    const level = Number.isNaN(value) ? MISSING : value
    seen.set(level, (seen.get(level) ?? 0) + 1)
  }
  const levels = [...seen].sort(([a], [b]) => a - b)
  const only = levels.find(([, times]) => times === count)
  if (only !== undefined) {
    novelties.push({ feature, source: "differs", level: only[0] })
    return
  }
  for (const [level, times] of levels) {
    if (times === 0) novelties.push({ feature, source: "level", level })
    else columns.push(flag(feature, "level", level, times / count))
  }
}

/**
 * Positions repeated up to a multiple of `LANES`. ONNX Runtime's Log gives the last elements of a buffer
 * other bits than those its vector part computes, so that a row's result would depend on the batch around it.
 */
const evenly = (positions: ReadonlyArray<number>): Array<number> => {
  const padded = [...positions]
  while (padded.length % LANES !== 0) padded.push(positions[0])
  return padded
}

/** What the encoder's part of a graph yields. */
export interface Encoded {
  /** [n, columns], clipped. */
  readonly z: Expression
  /** [n, novelties] of 0 and 1; undefined where the encoder has none. */
  readonly novel: Expression | undefined
}

const span = (length: number) => Array.from({ length }, (_, at) => at)

/** Writes the encoder into a graph. rows: [n, inputs]; NaN, ±Infinity and any other number are taken. */
export const encodeInGraph = (graph: GraphBuilder, rows: Expression, encoder: Encoder): Encoded => {
  const { columns, novelties } = encoder
  const width = encoder.inputs.length
  const absent = graph.isNaN(rows)
  const filled = graph.where(absent, graph.constant(encoder.fill, [1, width]), rows)
  const select = (from: Expression, positions: ReadonlyArray<number>) =>
    positions.length === width && positions.every((position, at) => position === at)
      ? from
      : graph.gather(from, graph.integers(positions), 1)
  const features = (source: string) =>
    columns.filter((column) => column.source === source).map((c) => c.feature)
  const parts: Array<Expression> = []

  const linear = features("linear")
  if (linear.length > 0) parts.push(select(filled, linear))
  const log = features("log")
  if (log.length > 0) {
    const x = graph.gather(filled, graph.integers(evenly(log)), 1)
    const one = graph.constant([1], [1, 1])
    const squashed = graph.binary(
      "Mul",
      graph.unary("Sign", x),
      graph.unary("Log", graph.binary("Add", graph.unary("Abs", x), one))
    )
    parts.push(
      log.length % LANES === 0 ? squashed : graph.gather(squashed, graph.integers(span(log.length)), 1)
    )
  }
  const equals = (of: ReadonlyArray<{ readonly feature: number; readonly level: number }>) =>
    graph.equal(
      graph.gather(filled, graph.integers(of.map((column) => column.feature)), 1),
      graph.constant(
        of.map((column) => column.level),
        [1, of.length]
      )
    )
  const levels = columns.filter((column) => column.source === "level")
  if (levels.length > 0) parts.push(graph.toFloat(equals(levels)))
  // Gather reads no booleans on every provider, so flags become numbers first.
  const absentNumbers = () => graph.toFloat(absent)
  const missing = features("missing")
  if (missing.length > 0) parts.push(select(absentNumbers(), missing))

  const size = columns.length
  const z = graph.clip(
    graph.binary(
      "Mul",
      graph.binary(
        "Sub",
        graph.concat(parts, 1),
        graph.constant(
          columns.map((c) => c.centre),
          [1, size]
        )
      ),
      graph.constant(
        columns.map((c) => c.scale),
        [1, size]
      )
    ),
    scalar(graph, -CLIP),
    scalar(graph, CLIP)
  )

  const ofKind = (source: Novelty["source"]) => novelties.filter((novelty) => novelty.source === source)
  const flags: Array<Expression> = []
  if (ofKind("level").length > 0) flags.push(graph.toFloat(equals(ofKind("level"))))
  if (ofKind("differs").length > 0) flags.push(graph.toFloat(graph.not(equals(ofKind("differs")))))
  if (ofKind("missing").length > 0)
    flags.push(
      select(
        absentNumbers(),
        ofKind("missing").map((n) => n.feature)
      )
    )
  if (ofKind("present").length > 0) {
    const present = graph.toFloat(graph.not(absent))
    flags.push(
      select(
        present,
        ofKind("present").map((n) => n.feature)
      )
    )
  }
  return { z, novel: flags.length > 0 ? graph.concat(flags, 1) : undefined }
}

const scalar = (graph: GraphBuilder, value: number) => graph.constant([value], [])
