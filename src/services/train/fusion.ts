// Several energies as one graph: two prototype mixtures, the autoencoder and score matching, each as its surprise −log p,
// and what a row does that none did.
import { type Curve, fitCurve, nativeCurve, PIECES, surpriseAt } from "./curve.ts"
import { type Encoder, encodeInGraph, LANES, noveltyNats } from "./encoder.ts"
import { type Expression, GraphBuilder } from "./graph.ts"
import {
  byFeature,
  costPerRow,
  costs,
  explained,
  logLikelihood,
  type Mixture,
  newness,
  shared,
  squared
} from "./mixture.ts"
import { autoencoderCost, residuals } from "./network/autoencoder.ts"
import { potential, potentialCost, potentialSlope } from "./network/scoreMatching.ts"

/** What the members have learned; they share an encoder. */
export interface Members {
  readonly encoder: Encoder
  readonly mixture: Mixture
  /** Of all rows, the suspect ones too: what the others do not know because it was left out, this one does. */
  readonly trusting: Mixture
  readonly autoencoder: Float32Array
  readonly scoreMatching: Float32Array
}

export const MEMBERS = 5
/** The last member: nats already, see `Encoder.novelties`. */
const NOVELTY = 4
/** What a member's value in the graph is times its energy: of the mixtures it has the likelihood, a node less each. */
const SIGNS = [-1, -1, 1, 1, 1] as const

/** So many columns are for the networks to tell more of than prototypes, which then leave gaps. */
const NETWORK_COLUMNS = 8

/**
 * Weights of the members' surprises: local density counts whole, half of it by all rows, for nobody says whether those
 * left out were attacks or rare; the two networks count half each, and less where columns are few. Novelty counts
 * whole, as the part of the density that is about what no row did.
 */
const weightsOf = (width: number): ReadonlyArray<number> => {
  const network = 0.5 * Math.min(1, width / NETWORK_COLUMNS)
  return [0.5, 0.5, network, network, 1]
}

/** A member's surprise and how much it counts. */
export interface WeightedCurve extends Curve {
  readonly weight: number
}

/** `values` [n, 5]: the members' energies times `SIGNS`. */
const memberValues = (graph: GraphBuilder, rows: Expression, members: Members) => {
  const { encoder } = members
  const encoded = encodeInGraph(graph, rows, encoder)
  const { z } = encoded
  const width = encoder.columns.length
  const errors = residuals(graph, z, members.autoencoder)
  const ones = graph.constant(new Float32Array(width).fill(1), [width, 1])
  const near = squared(graph, z)
  const none = () => graph.matMul(z, graph.constant(new Float32Array(width), [width, 1]))
  const values = graph.concat(
    [
      logLikelihood(graph, near, members.mixture),
      logLikelihood(graph, near, members.trusting),
      graph.matMul(errors, ones),
      potential(graph, z, members.scoreMatching),
      newness(graph, encoded, encoder, noveltyNats(encoder, 0), true) ?? none()
    ],
    1
  )
  return { ...encoded, errors, values }
}

/**
 * Input `rows` [n, inputs], output `energies` [n, 5]: mixture, trusting mixture, autoencoder, score matching, nats of
 * novelty.
 */
export const membersGraph = (members: Members): Uint8Array => {
  const graph = new GraphBuilder()
  const rows = graph.input("rows", ["n", members.encoder.inputs.length])
  const { values } = memberValues(graph, rows, members)
  const energies = graph.binary("Mul", values, graph.constant(SIGNS, [1, MEMBERS]))
  return graph.serialize("members", [graph.output("energies", energies)])
}

/**
 * values [n, 5] → weighted surprises [n, 5], or their sum [n, 1]; see `Curve`. How far each piece is reached is
 * one product; a rounding error there is worth what the energy's own is.
 */
const surprises = (
  graph: GraphBuilder,
  values: Expression,
  curves: ReadonlyArray<WeightedCurve>,
  summed: boolean
): Expression => {
  const pieces = curves.reduce((sum, curve) => sum + curve.starts.length, 0)
  const columns = summed ? 1 : MEMBERS
  const slopes = new Float32Array(MEMBERS * pieces)
  const starts = new Float32Array(pieces)
  const rises = new Float32Array(pieces * columns)
  const scale = new Float32Array(MEMBERS * LANES)
  const shift = new Float32Array(LANES)
  const tail = new Float32Array(LANES * columns)
  let at = 0
  curves.forEach((curve, member) => {
    const column = summed ? 0 : member
    for (let piece = 0; piece < curve.starts.length; piece++, at++) {
      slopes[member * pieces + at] = SIGNS[member] / curve.widths[piece]
      starts[at] = -curve.starts[piece] / curve.widths[piece]
      rises[at * columns + column] = curve.weight * curve.rises[piece]
    }
    scale[member * LANES + member] = (SIGNS[member] * curve.shape) / curve.scale
    shift[member] = 1 - (curve.shape * curve.from) / curve.scale
    tail[member * columns + column] = curve.weight / curve.shape
  })
  const product = (matrix: Float32Array, offset: Float32Array, size: number) =>
    graph.binary(
      "Add",
      graph.matMul(values, graph.constant(matrix, [MEMBERS, size])),
      graph.constant(offset, [1, size])
    )
  const bounds = [0, 1].map((bound) => graph.constant([bound], []))
  const reached = graph.clip(product(slopes, starts, pieces), bounds[0], bounds[1])
  const beyond = graph.binary("Max", product(scale, shift, LANES), graph.constant([1], [1, 1]))
  return graph.binary(
    "Add",
    graph.matMul(reached, graph.constant(rises, [pieces, columns])),
    graph.matMul(graph.unary("Log", beyond), graph.constant(tail, [LANES, columns]))
  )
}

/** Fused energies in double precision of rows of member energies, n × 5. */
export const fusedEnergies = (
  curves: ReadonlyArray<WeightedCurve>,
  energies: ArrayLike<number>
): Float64Array =>
  Float64Array.from({ length: energies.length / MEMBERS }, (_, row) =>
    curves.reduce(
      (sum, curve, member) => sum + curve.weight * surpriseAt(curve, energies[row * MEMBERS + member]),
      0
    )
  )

/** One curve for each member, from rows of member energies, n × 5; `width`: columns of the rows as they are encoded. */
export const fitCurves = (energies: ArrayLike<number>, width: number): ReadonlyArray<WeightedCurve> => {
  const rows = energies.length / MEMBERS
  const curveOf = (member: number) =>
    member === NOVELTY
      ? nativeCurve()
      : fitCurve(Float64Array.from({ length: rows }, (_, row) => energies[row * MEMBERS + member]))
  return weightsOf(width).map((weight, member) => ({ weight, ...curveOf(member) }))
}

/** Parts that take turns in being judged by the curves of the others. */
const FOLDS = 10

/**
 * What the rows that the curves are fitted to would have as fused energies were they fresh: each tenth of them is
 * judged by curves of the other nine. Judged by their own curves, they would look more normal than fresh rows do.
 */
export const crossFitted = (energies: Float32Array, width: number): Float64Array => {
  const count = energies.length / MEMBERS
  const folds = Math.min(FOLDS, count)
  const fused = new Float64Array(count)
  for (let fold = 0; fold < folds; fold++) {
    const part = (inside: boolean) =>
      energies.filter((_, at) => (Math.floor(at / MEMBERS) % folds === fold) === inside)
    const others = folds === 1 ? energies : part(false)
    fusedEnergies(fitCurves(others, width), part(true)).forEach((energy, at) => {
      fused[at * folds + fold] = energy
    })
  }
  return fused
}

/** Input `rows` [n, inputs], output `energy` [n]: the weighted surprises' sum, nats. */
export const fusedScoreGraph = (members: Members, curves: ReadonlyArray<WeightedCurve>): Uint8Array => {
  const graph = new GraphBuilder()
  const rows = graph.input("rows", ["n", members.encoder.inputs.length])
  const energy = surprises(graph, memberValues(graph, rows, members).values, curves, true)
  return graph.serialize("score", [graph.output("energy", graph.reshape(energy, [-1], ["n"]))])
}

/** Keeps shares of nothing from being divided by nothing. */
const SHARE_FLOOR = 1e-6

/**
 * As `fusedScoreGraph`, with the contributions, expected values and prototype of `Manifest.EnergyGraph`. Each
 * member shares its surprise among the features: the mixtures by what each feature costs, the
 * autoencoder by squared residual, score matching by how much of its rise on the way from that prototype is a
 * feature's (slope times difference), novelty by the nats of each feature's. The sum is scaled to the energy above `median`.
 */
export const fusedExplainGraph = (
  members: Members,
  curves: ReadonlyArray<WeightedCurve>,
  median: number
): Uint8Array => {
  const { encoder, mixture } = members
  const inputs = encoder.inputs.length
  const graph = new GraphBuilder()
  const rows = graph.input("rows", ["n", inputs])
  const { values, errors, ...encoded } = memberValues(graph, rows, members)
  const { z } = encoded
  const energy = surprises(graph, values, curves, true)
  const weighted = surprises(graph, values, curves, false)
  const near = explained(graph, z, encoder, mixture)
  const owners = encoder.columns.map(({ feature }) => feature)
  const rise = graph.unary(
    "Relu",
    graph.binary("Mul", potentialSlope(graph, z, members.scoreMatching), near.difference)
  )
  const ones = graph.constant(new Float32Array(inputs).fill(1), [inputs, 1])
  const floor = graph.constant([SHARE_FLOOR], [1, 1])
  const novelty = newness(graph, encoded, encoder, noveltyNats(encoder, 0), false)
  const parts = [
    costs(graph, z, encoder, mixture),
    costs(graph, z, encoder, members.trusting),
    byFeature(graph, errors, owners, inputs),
    byFeature(graph, rise, owners, inputs),
    ...(novelty === undefined ? [] : [novelty])
  ]
    .map((shares, member) => {
      const held = graph.binary("Add", shares, floor)
      const of = graph.gather(weighted, graph.integers([member]), 1)
      return graph.binary("Mul", held, graph.binary("Div", of, graph.matMul(held, ones)))
    })
    .reduce((sum, one) => graph.binary("Add", sum, one))
  const above = graph.binary("Sub", energy, graph.constant([median], [1, 1]))
  const contributions = shared(graph, above, parts)
  return graph.serialize("explain", [
    graph.output("energy", graph.reshape(energy, [-1], ["n"])),
    graph.output("contributions", contributions),
    graph.output("expected", near.expected),
    graph.output("prototype", near.nearest)
  ])
}

/** Multiply-adds that one row costs in the score graph. */
export const fusedCost = ({ encoder, mixture, trusting }: Members): number => {
  const width = encoder.columns.length
  const fusing = (MEMBERS + 1) * (MEMBERS - 1) * (PIECES + LANES)
  return costPerRow(mixture) + costPerRow(trusting) + autoencoderCost(width) + potentialCost(width) + fusing
}
