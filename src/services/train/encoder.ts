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

/** Something that no training row did. `unseen`: a value without a column; `differs`: any value but this one. */
export interface Novelty {
  readonly feature: number
  readonly source: "unseen" | "differs" | "missing" | "present"
  readonly level: number
  /** Values that one row alone had: a value that none had is as likely as these are together (Good 1953). */
  readonly once: number
  /** −log of the chance that a row does it; see `noveltyNats` for what it is worth among others. */
  readonly nats: number
}

export interface Encoder {
  readonly inputs: ReadonlyArray<InputColumn>
  /** What a missing number is replaced by: the training median; −2 for categories. */
  readonly fill: Float32Array
  /** In the order of the graph: linear, log, level, missing. */
  readonly columns: ReadonlyArray<EncodedColumn>
  /** In the order of the graph: unseen, differs, missing, present. */
  readonly novelties: ReadonlyArray<Novelty>
}

/** A category's place in a feature row where it is missing, and where its value is beyond the vocabulary. */
const MISSING = -2
const BEYOND = -1
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
  const byNovelty = ["unseen", "differs", "missing", "present"]
  return {
    inputs,
    fill,
    columns: columns.sort((a, b) => byColumn.indexOf(a.source) - byColumn.indexOf(b.source)),
    novelties: novelties.sort((a, b) => byNovelty.indexOf(a.source) - byNovelty.indexOf(b.source))
  }
}

/** −log of the chance of what `times` of `count` rows did; of one in n + 1 where none did. */
const rarity = (times: number, count: number) => Math.log((count + 1) / Math.max(1, times))

const novelty = (
  feature: number,
  source: Novelty["source"],
  level: number,
  count: number,
  once = 0
): Novelty => ({ feature, source, level, once, nats: rarity(once, count) })

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
    novelties.push(novelty(feature, "present", 0, count))
    return
  }
  const values = scratch.subarray(0, present)
  const raw = moments(values)
  fill[feature] = raw.median
  if (missing > 0) columns.push(flag(feature, "missing", 0, missing / count))
  else novelties.push(novelty(feature, "missing", 0, count))
  const spreadMin = input.spreadMin ?? 0
  if (!raw.distinct && spreadMin === 0) {
    novelties.push(novelty(feature, "differs", raw.median, count))
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
  const seen = new Map<number, number>()
  for (let row = 0; row < count; row++) {
    const value = rows[row * width + feature]
    const level = Number.isNaN(value) ? MISSING : value
    seen.set(level, (seen.get(level) ?? 0) + 1)
  }
  const levels = [...seen].sort(([a], [b]) => a - b)
  const only = levels.find(([, times]) => times === count)
  if (only !== undefined) {
    novelties.push(novelty(feature, "differs", only[0], count))
    return
  }
  for (const [level, times] of levels) columns.push(flag(feature, "level", level, times / count))
  // Where rows had values beyond the vocabulary, a row of yet another one does what they did.
  if (seen.has(BEYOND)) return
  const once = levels.filter(([, times]) => times === 1).length
  novelties.push(novelty(feature, "unseen", 0, count, once))
}

/** How many rows do what a novelty says. */
const timesDone = (
  { columns, fill }: Encoder,
  { feature, source, level }: Novelty,
  { rows, count, width }: Table
): number => {
  const known = new Set(
    columns.filter((column) => column.feature === feature && column.source === "level").map((c) => c.level)
  )
  let times = 0
  for (let row = 0; row < count; row++) {
    const value = rows[row * width + feature]
    const absent = Number.isNaN(value)
    const filled = absent ? fill[feature] : value
    if (
      source === "unseen"
        ? !known.has(filled)
        : source === "differs"
          ? filled !== level
          : absent === (source === "missing")
    )
      times++
  }
  return times
}

/**
 * Weighs novelties by all rows as well, those too that were left out: half of the nats are of the rows fitted to, half
 * of all, for nobody says whether those left out were attacks or rare.
 */
export const weighNovelties = (encoder: Encoder, all: Table): Encoder => ({
  ...encoder,
  novelties: encoder.novelties.map((one) => ({
    ...one,
    nats: (one.nats + rarity(timesDone(encoder, one, all) + one.once, all.count)) / 2
  }))
})

/**
 * Nats that each novelty adds, none less than `least`: −log of the chance that a row does this or anything else that
 * is new and as rare. In a thousand columns that never changed one that does says less than in the only one.
 */
export const noveltyNats = ({ novelties }: Encoder, least: number): Float32Array => {
  const rarest = Array.from(novelties.keys()).sort((a, b) => novelties[b].nats - novelties[a].nats)
  const nats = new Float32Array(novelties.length)
  let expected = 0
  for (let from = 0, to = 0; from < rarest.length; from = to) {
    for (; to < rarest.length && novelties[rarest[to]].nats === novelties[rarest[from]].nats; to++)
      expected += Math.exp(-novelties[rarest[to]].nats)
    for (const at of rarest.slice(from, to)) nats[at] = Math.max(least, -Math.log(-Math.expm1(-expected)))
  }
  return nats
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
  const hot = levels.length > 0 ? graph.toFloat(equals(levels)) : undefined
  if (hot !== undefined) parts.push(hot)
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
  const unseen = ofKind("unseen")
  if (unseen.length > 0 && hot !== undefined) {
    const known = new Float32Array(levels.length * unseen.length)
    levels.forEach(({ feature }, level) => {
      const at = unseen.findIndex((novelty) => novelty.feature === feature)
      if (at >= 0) known[level * unseen.length + at] = 1
    })
    const one = graph.constant([1], [1, 1])
    flags.push(
      graph.binary("Sub", one, graph.matMul(hot, graph.constant(known, [levels.length, unseen.length])))
    )
  }
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
