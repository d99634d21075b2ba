// Drift of a table's rows against the rows that a model was trained on, in one pass over rows of unknown number.
import type { DriftReport } from "../../schema/model/Drift.ts"
import { DRIFT_BINS } from "../../schema/model/Drift.ts"
import { judgeDrift } from "./drift.ts"
import { countValue, type DriftScale } from "./driftScale.ts"

/** Stretches of the file, at least half and at most all of them filled; each grows as the file does. */
const BLOCKS = 16
/** Rows of a stretch at first. */
const BLOCK_ROWS = 32

export interface TableDrift {
  /** Counts a row that did not alert; `row`: its features. */
  readonly count: (energy: number, row: Float32Array) => void
  readonly report: () => DriftReport
}

export const makeTableDrift = (scale: DriftScale): TableDrift => {
  const { quantities, edges } = scale
  let blocks = Array.from({ length: BLOCKS }, () => new Float32Array(quantities * DRIFT_BINS))
  let size = BLOCK_ROWS
  let block = 0
  let inBlock = 0
  let rows = 0

  /** Twice as long stretches, half as many of them. */
  const fold = (): void => {
    blocks = blocks.map((_, at) => {
      const joined = new Float32Array(quantities * DRIFT_BINS)
      if (2 * at + 1 < BLOCKS)
        blocks[2 * at].forEach((count, bin) => {
          joined[bin] = count + blocks[2 * at + 1][bin]
        })
      return joined
    })
    block = BLOCKS / 2
    size *= 2
  }

  return {
    count: (energy, row) => {
      if (inBlock === size) {
        inBlock = 0
        block++
        if (block === BLOCKS) fold()
      }
      const counts = blocks[block]
      countValue(edges, counts, 0, 0, energy, 1)
      for (let k = 1; k < quantities; k++) countValue(edges, counts, 0, k, row[k - 1], 1)
      inBlock++
      rows++
    },
    report: () => judgeDrift({ blocks, groups: [], rows }, scale.shares)
  }
}
