// A cell's state as something that tests compare.
import type { CellCore } from "../../src/actors/cell/cellCore.ts"
import { encodeCellState } from "../../src/services/state/cellState.ts"
import { encodePage } from "../../src/services/state/delta.ts"
import { encodeIdPage } from "../../src/services/state/idWindow.ts"

/** A cell's whole state as text that can be compared and, where it differs, read. */
export const stateOf = (core: CellCore) => {
  const { columns, deviceIds, state } = core
  const devices: Record<string, string> = {}
  for (let row = 0; row < columns.count; row++) {
    devices[deviceIds.text(row)] = Buffer.from(encodePage(columns, deviceIds, row, row + 1)).toString(
      "base64"
    )
  }
  const idPages = Math.ceil(Math.min(state.ids.written, state.ids.capacity) / 4_096)
  return {
    nextOffset: core.nextOffset,
    model: core.modelDigest,
    devices,
    cell: Buffer.from(encodeCellState(state)).toString("base64"),
    ids: Array.from({ length: idPages }, (_, page) =>
      Buffer.from(encodeIdPage(state.ids, page)).toString("base64")
    ),
    dictionaries: core.categoryIds.map((interner) =>
      Array.from({ length: interner.count }, (_, id) => interner.text(id))
    ),
    open: Object.entries(core.breakers)
      .filter(([, breaker]) => breaker.state !== "closed")
      .map(([step]) => step)
  }
}
