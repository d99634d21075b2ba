// The prototype mixture as graphs: one answers energies, one explains them. The energy is that of the likeliest prototype,
// E(x) = min_k |z − c_k|²/(2 v_k) + (d/2)·log v_k − log w_k + novelties: the free energy of the mixture at T → 0.
import { decodeNumber, type Encoded, type Encoder, encodeInGraph, LANES, noveltyNats } from "./encoder.ts"
import { type Expression, GraphBuilder } from "./graph.ts"
import type { Clusters } from "./kmeans.ts"

export interface Mixture {
  /** Prototypes in use; arrays are padded to a multiple of `LANES` with prototypes of weight 0. */
  readonly count: number
  readonly padded: number
  readonly width: number
  /** padded × width. */
  readonly centres: Float32Array
  /** v_k: mean squared distance per column, shrunk towards that of all rows. */
  readonly variances: Float64Array
  readonly weights: Float64Array
}

/** The first stage: a mixture, and what a row that does something new has more of energy. */
export interface FirstStage {
  readonly encoder: Encoder
  readonly mixture: Mixture
  /** Nats that a novelty adds at least, so that it stands out from rows that only were rare. */
  readonly noveltyLeast: number
}

/** Rows' worth of belief in the clusters' mean spread that each starts with. */
const PRIOR_ROWS = 5
/** Logit of a padding prototype, which is never the likeliest. */
const NEVER = -1e30

/** A cluster's spread counts with its rows, the mean spread of all clusters with five: small clusters borrow from it. */
export const makeMixture = (clusters: Clusters, width: number, varianceFloor: number): Mixture => {
  const padded = Math.ceil(clusters.count / LANES) * LANES
  const total = clusters.sizes.reduce((sum, size) => sum + size, 0)
  const pooled = clusters.spreads.reduce((sum, spread) => sum + spread, 0) / (total * width)
  const centres = new Float32Array(padded * width)
  centres.set(clusters.centres)
  const variances = new Float64Array(padded).fill(1)
  const weights = new Float64Array(padded)
  for (let k = 0; k < clusters.count; k++) {
    const size = clusters.sizes[k]
    variances[k] = (clusters.spreads[k] / width + PRIOR_ROWS * pooled) / (size + PRIOR_ROWS) + varianceFloor
    weights[k] = size / total
  }
  return { count: clusters.count, padded, width, centres, variances, weights }
}

/** Multiply-adds that one row costs in the score graph. */
export const costPerRow = (mixture: Mixture): number => (mixture.width + 3) * mixture.padded

/** Elements of a table of columns × features; beyond it sums by feature are gathered. */
const OWNERS_MAX = 8_000_000

/**
 * values [n, owners.length] → [n, inputs]: the sum of each feature's columns, times `weights` where they are given. One
 * product; where its table would be larger than the model, as many gathers as one feature has columns.
 */
export const byFeature = (
  graph: GraphBuilder,
  values: Expression,
  owners: ReadonlyArray<number>,
  inputs: number,
  weights: Float32Array = new Float32Array(owners.length).fill(1),
  tableMax = OWNERS_MAX
): Expression => {
  const size = owners.length
  if (size * inputs <= tableMax) {
    const table = new Float32Array(size * inputs)
    owners.forEach((feature, at) => {
      table[at * inputs + feature] = weights[at]
    })
    return graph.matMul(values, graph.constant(table, [size, inputs]))
  }
  const weighted = graph.binary("Mul", values, graph.constant(weights, [1, size]))
  const nothing = graph.matMul(values, graph.constant(new Float32Array(size), [size, 1]))
  const padded = graph.concat([weighted, nothing], 1)
  const places = Array.from({ length: inputs }, (): Array<number> => [])
  owners.forEach((feature, at) => {
    places[feature].push(at)
  })
  const most = places.reduce((max, { length }) => Math.max(max, length), 1)
  return Array.from({ length: most }, (_, turn) =>
    graph.gather(padded, graph.integers(places.map((of) => of[turn] ?? size)), 1)
  ).reduce((sum, one) => graph.binary("Add", sum, one))
}

const featuresOf = (of: ReadonlyArray<{ readonly feature: number }>) => of.map(({ feature }) => feature)

/** Each novelty's nats, by feature [n, inputs] or their sum [n, 1]; undefined where there are no novelties. */
export const newness = (
  graph: GraphBuilder,
  { novel }: Encoded,
  encoder: Encoder,
  nats: Float32Array,
  summed: boolean
): Expression | undefined => {
  if (novel === undefined) return undefined
  return summed
    ? graph.matMul(novel, graph.constant(nats, [nats.length, 1]))
    : byFeature(graph, novel, featuresOf(encoder.novelties), encoder.inputs.length, nats)
}

/** Encodes the rows, and the first stage's energy of what that gives, [n, 1]. */
const firstEnergy = (graph: GraphBuilder, rows: Expression, stage: FirstStage) => {
  const { encoder, mixture } = stage
  const encoded = encodeInGraph(graph, rows, encoder)
  const nats = noveltyNats(encoder, stage.noveltyLeast)
  const likelihood = logLikelihood(graph, squared(graph, encoded.z), mixture)
  const news = newness(graph, encoded, encoder, nats, true)
  const energy = news === undefined ? graph.unary("Neg", likelihood) : graph.binary("Sub", news, likelihood)
  return { ...encoded, nats, energy }
}

/**
 * [z, |z|², 1]. The sum along a row is a product with ones: ONNX Runtime's ReduceSum gives other bits at other places in
 * a batch, its MatMul does not.
 */
export const squared = (graph: GraphBuilder, z: Expression): Expression => {
  const width = Number(z.shape[1])
  const pair = new Float32Array(width * 2)
  for (let column = 0; column < width; column++) pair[column * 2] = 1
  const squares = graph.binary(
    "Add",
    graph.matMul(graph.binary("Mul", z, z), graph.constant(pair, [width, 2])),
    graph.constant([0, 1], [1, 2])
  )
  return graph.concat([z, squares], 1)
}

/**
 * [n, 1], nats: the energy's negative. |z − c|² is one product of `squared` rows with [c/v; −1/(2v); log w − (d/2) log v − |c|²/(2v)].
 * Summing over prototypes would be half of the cost and tells rows apart no better (decision 0011).
 */
export const logLikelihood = (graph: GraphBuilder, rows: Expression, mixture: Mixture): Expression =>
  graph.reduceLast("ReduceMax", likelihoods(graph, rows, mixture))

/** [n, padded], nats: the log likelihood by each prototype. */
const likelihoods = (graph: GraphBuilder, rows: Expression, mixture: Mixture): Expression => {
  const { width, padded } = mixture
  const product = new Float32Array((width + 2) * padded)
  for (let k = 0; k < padded; k++) {
    const v = mixture.variances[k]
    let squares = 0
    for (let column = 0; column < width; column++) {
      const c = mixture.centres[k * width + column]
      squares += c * c
      product[column * padded + k] = c / v
    }
    if (k >= mixture.count) {
      product[(width + 1) * padded + k] = NEVER
      continue
    }
    product[width * padded + k] = -1 / (2 * v)
    product[(width + 1) * padded + k] =
      Math.log(mixture.weights[k]) - (width / 2) * Math.log(v) - squares / (2 * v)
  }
  return graph.matMul(rows, graph.constant(product, [width + 2, padded]))
}

const asRow = (graph: GraphBuilder, column: Expression) => graph.reshape(column, [-1], ["n"])

/** Input `rows` [n, inputs], output `encoded` [n, columns]: what the prototypes see. */
export const encoderGraph = (encoder: Encoder): Uint8Array => {
  const graph = new GraphBuilder()
  const rows = graph.input("rows", ["n", encoder.inputs.length])
  return graph.serialize("encoder", [graph.output("encoded", encodeInGraph(graph, rows, encoder).z)])
}

/** Input `rows` [n, inputs], output `energy` [n], nats. */
export const scoreGraph = (stage: FirstStage): Uint8Array => {
  const graph = new GraphBuilder()
  const rows = graph.input("rows", ["n", stage.encoder.inputs.length])
  const { energy } = firstEnergy(graph, rows, stage)
  return graph.serialize("score", [graph.output("energy", asRow(graph, energy))])
}

/** A share of the way to nothing that each feature has, so that shares exist where a row lies on a prototype. */
const SHARE_FLOOR = 1e-6

/**
 * Contributions [n, inputs] that sum to `above` [n, 1] and stand in the order of `parts` [n, inputs], not negative.
 * What a row has more of energy than the median is the features' by their parts; what it has less is owed to those
 * that are not odd, so that an odd feature leads in an ordinary row as well.
 */
export const shared = (graph: GraphBuilder, above: Expression, parts: Expression): Expression => {
  const inputs = Number(parts.shape[1])
  const held = graph.binary("Add", parts, graph.constant([SHARE_FLOOR], [1, 1]))
  const total = graph.matMul(held, graph.constant(new Float32Array(inputs).fill(1), [inputs, 1]))
  const share = graph.binary("Div", held, total)
  if (inputs === 1) return graph.binary("Mul", share, above)
  const zero = graph.constant([0], [1, 1])
  const others = graph.binary(
    "Div",
    graph.binary("Sub", graph.constant([1], [1, 1]), share),
    graph.constant([inputs - 1], [1, 1])
  )
  return graph.binary(
    "Add",
    graph.binary("Mul", share, graph.binary("Max", above, zero)),
    graph.binary("Mul", others, graph.binary("Min", above, zero))
  )
}

export interface MixtureExplained {
  /** int64 [n]: the nearest prototype. */
  readonly nearest: Expression
  /** [n, columns]: z less the nearest prototype. */
  readonly difference: Expression
  /** [n, inputs]: the nearest prototype in the inputs' own units. */
  readonly expected: Expression
}

/**
 * What each feature costs, nats [n, inputs], not negative: by how much the mixture's energy would fall were the feature
 * whatever suits the others best. Not its part of the distance to the prototype that the row is given to: where one
 * rare value leads to a rare prototype, that part is nothing, and all others seem odd beside it.
 */
export const costs = (graph: GraphBuilder, z: Expression, encoder: Encoder, mixture: Mixture): Expression => {
  const n = z.shape[0]
  const { width, padded } = mixture
  const scales = Float32Array.from(mixture.variances, (v) => 1 / Math.sqrt(2 * v))
  const difference = graph.binary(
    "Mul",
    graph.binary(
      "Sub",
      graph.reshape(z, [-1, 1, width], [n, 1, width]),
      graph.constant(mixture.centres, [padded, width])
    ),
    graph.constant(scales, [padded, 1])
  )
  const [parts, features] = partsByFeature(graph, graph.binary("Mul", difference, difference), encoder)
  const of = likelihoods(graph, squared(graph, z), mixture)
  const without = graph.binary("Add", parts, graph.reshape(of, [-1, padded, 1], [n, padded, 1]))
  const best = graph.reshape(graph.reduceMax(without, 1), [-1, features.length], [n, features.length])
  const fall = graph.unary("Relu", graph.binary("Sub", best, graph.reduceLast("ReduceMax", of)))
  return byFeature(graph, fall, features, encoder.inputs.length)
}

/**
 * values [n, k, columns] → [n, k, features that have columns], and which these are. Only those of several columns are
 * summed: the product is as long as both.
 */
const partsByFeature = (
  graph: GraphBuilder,
  values: Expression,
  { columns }: Encoder
): readonly [Expression, ReadonlyArray<number>] => {
  const owners = featuresOf(columns)
  const times = new Map<number, number>()
  for (const feature of owners) times.set(feature, (times.get(feature) ?? 0) + 1)
  const places = (alone: boolean) =>
    [...owners.keys()].filter((at) => (times.get(owners[at]) === 1) === alone)
  const [alone, together] = [places(true), places(false)]
  if (together.length === 0) return [values, owners]
  const take = (at: ReadonlyArray<number>) => graph.gather(values, graph.integers(at), 2)
  const joint = [...times.keys()].filter((feature) => times.get(feature) !== 1)
  const table = new Float32Array(together.length * joint.length)
  together.forEach((at, row) => {
    table[row * joint.length + joint.indexOf(owners[at])] = 1
  })
  const sums = graph.matMul(take(together), graph.constant(table, [together.length, joint.length]))
  return [
    alone.length === 0 ? sums : graph.concat([take(alone), sums], 2),
    [...alone.map((at) => owners[at]), ...joint]
  ]
}

/** What was to be expected: by the nearest prototype, not the likeliest, which far out is the widest one. */
export const explained = (
  graph: GraphBuilder,
  z: Expression,
  encoder: Encoder,
  mixture: Mixture
): MixtureExplained => {
  const inputs = encoder.inputs.length
  const { width, padded } = mixture
  const nearness = new Float32Array(width * padded)
  const halfSquares = new Float32Array(padded).fill(-NEVER)
  for (let k = 0; k < mixture.count; k++) {
    halfSquares[k] = 0
    for (let column = 0; column < width; column++) {
      const c = mixture.centres[k * width + column]
      nearness[column * padded + k] = c
      halfSquares[k] += (c * c) / 2
    }
  }
  const nearest = graph.argMaxLast(
    graph.binary(
      "Sub",
      graph.matMul(z, graph.constant(nearness, [width, padded])),
      graph.constant(halfSquares, [1, padded])
    )
  )
  const difference = graph.binary(
    "Sub",
    z,
    graph.gather(graph.constant(mixture.centres, [padded, width]), nearest, 0)
  )
  const expected = graph.gather(graph.constant(expectations(encoder, mixture), [padded, inputs]), nearest, 0)
  return { nearest, difference, expected }
}

/**
 * As `scoreGraph`, with the contributions, expected values and prototype of `Manifest.EnergyGraph`: the
 * `costs` and the novelties' nats, scaled so that they sum to the energy above `median`.
 */
export const explainGraph = (stage: FirstStage, median: number): Uint8Array => {
  const { encoder, mixture } = stage
  const graph = new GraphBuilder()
  const inputs = encoder.inputs.length
  const rows = graph.input("rows", ["n", inputs])
  const { energy, nats, ...encoded } = firstEnergy(graph, rows, stage)
  const { nearest, expected } = explained(graph, encoded.z, encoder, mixture)
  const parts = costs(graph, encoded.z, encoder, mixture)
  const news = newness(graph, encoded, encoder, nats, false)
  const all = news === undefined ? parts : graph.binary("Add", parts, news)
  const above = graph.binary("Sub", energy, graph.constant([median], [1, 1]))
  const contributions = shared(graph, above, all)
  return graph.serialize("explain", [
    graph.output("energy", asRow(graph, energy)),
    graph.output("contributions", contributions),
    graph.output("expected", expected),
    graph.output("prototype", nearest)
  ])
}

/** padded × inputs: each prototype in the inputs' own units; a category as the position of its likeliest value. */
const expectations = (encoder: Encoder, mixture: Mixture): Float32Array => {
  const inputs = encoder.inputs.length
  const expected = new Float32Array(mixture.padded * inputs)
  for (let k = 0; k < mixture.padded; k++) {
    const row = k * inputs
    const likeliest = new Float64Array(inputs).fill(Number.NEGATIVE_INFINITY)
    for (let feature = 0; feature < inputs; feature++) expected[row + feature] = encoder.fill[feature]
    for (const novelty of encoder.novelties) {
      if (novelty.source === "differs") expected[row + novelty.feature] = novelty.level
    }
    encoder.columns.forEach((column, at) => {
      const z = mixture.centres[k * mixture.width + at]
      const to = row + column.feature
      if (column.source === "linear" || column.source === "log") expected[to] = decodeNumber(column, z)
      else if (column.source === "level") {
        const share = column.centre + z / column.scale
        if (share <= likeliest[column.feature]) return
        likeliest[column.feature] = share
        expected[to] = column.level
      }
    })
  }
  return expected
}
