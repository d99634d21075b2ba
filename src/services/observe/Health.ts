// Whether this runner lives and is ready: parts report themselves, probes read. Plain calls, no waiting.
import { performance } from "node:perf_hooks"
import { Context, Layer } from "effect"
import type { LivenessReport, ReadinessReport } from "../../schema/api/ProbesApi.ts"

/** A cell that has work and has not moved for this long is stuck; the runner should be restarted. */
export const STUCK_AFTER_MILLIS = 60_000

/** What a part says of itself. */
export interface ComponentState {
  readonly ready: boolean
  /** Why not, or what is degraded; for people. */
  readonly reason: string | null
  /** Does the runner take traffic without it? Required unless said otherwise. */
  readonly required?: boolean
}

/** What a cell says of itself. */
export interface CellProgress {
  /** Events waiting. */
  readonly lag: number
  /** When its offset last moved; monotonic ms as `performance.now()` gives them. */
  readonly lastProgressAt: number
  /** Waiting for something outside (the log, the database): a restart would not help. */
  readonly paused: boolean
}

export interface HealthService {
  /** Sets the state of a part; the last word counts. */
  readonly report: (component: string, state: ComponentState) => void
  /** The part is gone on purpose. */
  readonly forget: (component: string) => void
  /** Sets the progress of a cell, named `<stream>/<partition>`; once per batch and per idle wait. */
  readonly progress: (cell: string, progress: CellProgress) => void
  /** The cell has gone to another runner. */
  readonly forgetCell: (cell: string) => void
  /** Progress, not a heartbeat: fails only where work waits, nothing outside is missing, and nothing moves. */
  readonly liveness: () => LivenessReport
  /** Ready when every required part is; no part at all is not ready (nothing has started yet). */
  readonly readiness: () => ReadinessReport
}

/** now: monotonic milliseconds, the clock of `lastProgressAt`. */
export const makeHealth = (now: () => number): HealthService => {
  const components = new Map<string, ComponentState>()
  const cells = new Map<string, CellProgress & { readonly waitingSince: number }>()
  return {
    report: (component, state) => {
      components.set(component, state)
    },
    forget: (component) => {
      components.delete(component)
    },
    progress: (cell, progress) => {
      const before = cells.get(cell)
      const waits = progress.lag > 0 && !progress.paused
      const waited = before !== undefined && before.lag > 0 && !before.paused
      // The wait starts when work is there and nothing outside is missing, so that an idle night or an
      // outage of the log does not count as standing still.
      const waitingSince = waits ? (waited ? before.waitingSince : now()) : Number.POSITIVE_INFINITY
      cells.set(cell, { ...progress, waitingSince })
    },
    forgetCell: (cell) => {
      cells.delete(cell)
    },
    liveness: () => {
      const at = now()
      const stuck: Array<LivenessReport["stuck"][number]> = []
      for (const [cell, { lag, paused, lastProgressAt, waitingSince }] of cells) {
        if (lag === 0 || paused) continue
        const still = at - Math.max(lastProgressAt, waitingSince)
        if (still > STUCK_AFTER_MILLIS) stuck.push({ cell, lag, secondsWithoutProgress: still / 1_000 })
      }
      return { live: stuck.length === 0, stuck }
    },
    readiness: () => {
      const list = [...components]
        .map(([component, state]) => ({
          component,
          ready: state.ready,
          required: state.required ?? true,
          reason: state.reason
        }))
        .sort((a, b) => (a.component < b.component ? -1 : 1))
      return {
        ready: list.length > 0 && list.every((part) => part.ready || !part.required),
        components: list
      }
    }
  }
}

export class Health extends Context.Tag("groundstate/services/observe/Health")<Health, HealthService>() {
  static readonly layer = Layer.sync(Health, () => makeHealth(() => performance.now()))
}
