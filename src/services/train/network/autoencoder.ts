// Energy A: what a denoising autoencoder (Vincent et al. 2008) cannot restore of a row; it finds broken relations between columns.
import type { Expression, GraphBuilder } from "../graph.ts"
import { denseShapes, fixedParameters, layersOf, perceptron } from "./layers.ts"
import { BATCH, type Objective } from "./optimise.ts"

const HIDDEN = 128
const MIDDLE = 32
const NOISE = 0.3
const DECAY = 1e-3

const shapesOf = (width: number) => denseShapes([width, HIDDEN, MIDDLE, HIDDEN, width])

/** Least mean of |f(z + 0.3 e) − z|² over rows and noise. */
export const autoencoderObjective = (width: number, steps: number): Objective => ({
  shapes: shapesOf(width),
  steps,
  decay: DECAY,
  loss: (graph, parameters, { z, noise }) => {
    const blurred = graph.binary("Add", z, graph.binary("Mul", noise, graph.constant([NOISE], [1])))
    const error = graph.binary("Sub", perceptron(graph, blurred, layersOf(parameters)), z)
    const sum = graph.reduceSum(graph.binary("Mul", error, error), [0, 1])
    return graph.binary("Mul", sum, graph.constant([1 / (BATCH * width)], [1]))
  }
})

/** (f(z) − z)² of each column, [n, width]; their sum is the energy. */
export const residuals = (graph: GraphBuilder, z: Expression, parameters: Float32Array): Expression => {
  const layers = layersOf(fixedParameters(graph, parameters, shapesOf(Number(z.shape[1]))))
  const error = graph.binary("Sub", perceptron(graph, z, layers), z)
  return graph.binary("Mul", error, error)
}

/** Multiply-adds a row. */
export const autoencoderCost = (width: number): number => 2 * HIDDEN * (width + MIDDLE)
