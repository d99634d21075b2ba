// The two stages of one cell: which events of the slice went on to the deep energy, and whose energies it has.
import type { Calibration, Manifest } from "../../schema/model/Manifest.ts"
import type { Step } from "../../schema/stream/StreamDefinition.ts"
import {
  gatherSuspects,
  makeStages,
  makeSuspects,
  type Stages,
  scatterSuspects
} from "../../services/score/stages.ts"

export const makeStaging = (suspicious: number | undefined) => {
  const suspects = makeSuspects()
  let stages: Stages | undefined
  let staged = false

  return {
    /** Takes the model's energies into use; answers the calibration of both together where two stages score. */
    use: (graphs: Manifest["graphs"] | undefined): Calibration | undefined => {
      stages = graphs === undefined || suspicious === undefined ? undefined : makeStages(graphs, suspicious)
      staged = false
      return stages?.calibration
    },
    /** Do two stages score where the deep rung does? */
    get declared(): boolean {
      return stages !== undefined
    },
    /** Has the slice been scored in two stages? */
    get staged(): boolean {
      return staged
    },
    /** Events of the slice that the second stage judged. */
    get suspected(): number {
      return staged ? suspects.count : 0
    },
    /** Begins a slice. */
    reset: (): void => {
      staged = false
    },
    /** energies: those of the first stage. Answers how many events go on; they lie in `rows`. */
    gather: (
      rows: Float32Array,
      count: number,
      width: number,
      energies: Float32Array,
      flags: Uint8Array
    ): number =>
      stages === undefined ? 0 : gatherSuspects(stages, rows, count, width, energies, flags, suspects),
    get rows(): Float32Array {
      return suspects.rows
    },
    /** The deep energies of the suspects, to be written before `scatter`. */
    get energies(): Float32Array {
      return suspects.energies
    },
    /** Ends what `gather` began: the slice's energies are those of both stages together. */
    scatter: (energies: Float32Array): void => {
      scatterSuspects(suspects, energies)
      staged = true
    },
    /** The rung that judged an event of the slice last, where `path` decided the slice. */
    pathOf: (event: number, path: Step): Step =>
      !staged ? path : suspects.deep[event] === 1 ? "deep" : "fast"
  }
}
