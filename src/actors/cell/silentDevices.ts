// The devices that a slice has found silent, as they are told.
import type { Folded } from "../../schema/event/CellState.ts"
import type { Decisions } from "../../services/decide/decide.ts"
import type { ArenaInterner } from "../../services/state/interner.ts"

export interface SilentDevice {
  /** Event of the slice at which it was found. */
  readonly event: number
  readonly device: string
  /** Time of its last event, epoch ms. */
  readonly since: number
  /** Seconds between its events otherwise. */
  readonly usual: number
}

const none: ReadonlyArray<SilentDevice> = []

export const silentDevices = (
  decisions: Decisions,
  folded: Folded,
  ids: ArenaInterner
): ReadonlyArray<SilentDevice> =>
  decisions.silences === 0
    ? none
    : Array.from(decisions.silentAt.subarray(0, decisions.silences), (event) => ({
        event,
        device: ids.text(folded.silent[event]),
        since: folded.silentSince[event],
        usual: folded.silentUsual[event]
      }))
