// Progress of long work: one line drawn anew on a terminal, a plain line every few seconds elsewhere.
import { Clock, Effect, type Scope } from "effect"
import { formatCount, formatMillis, formatRate } from "./format.ts"
import { cutTo } from "./paint.ts"
import { Screen } from "./Screen.ts"

export interface ProgressState {
  readonly label: string
  /** In `unit`s. */
  readonly done: number
  /** Undefined where nobody knows. */
  readonly total: number | undefined
  readonly unit: string
  readonly elapsedMillis: number
  /** Said behind the numbers, for example `3 failed`. */
  readonly note: string
}

const BAR = 24
const TERMINAL_EVERY_MILLIS = 100
const PLAIN_EVERY_MILLIS = 5_000

/** One line: label, bar, share, count, rate, time left. */
export const renderProgress = (state: ProgressState, width: number, bar: boolean): string => {
  const { done, total, unit, elapsedMillis } = state
  const rate = elapsedMillis > 0 ? (done * 1_000) / elapsedMillis : 0
  const parts: Array<string> = []
  if (total !== undefined && total > 0) {
    const share = Math.min(1, done / total)
    const filled = Math.round(share * BAR)
    if (bar) parts.push(`${"█".repeat(filled)}${"░".repeat(BAR - filled)}`)
    parts.push(
      `${String(Math.floor(share * 100)).padStart(3)} %`,
      `${formatCount(done)} of ${formatCount(total)} ${unit}`
    )
    if (rate > 0 && done < total)
      parts.push(`${formatRate(rate)}`, `${formatMillis(((total - done) / rate) * 1_000)} left`)
    else if (rate > 0) parts.push(`${formatRate(rate)}`, formatMillis(elapsedMillis))
  } else {
    parts.push(`${formatCount(done)} ${unit}`, formatRate(rate), formatMillis(elapsedMillis))
  }
  if (state.note !== "") parts.push(state.note)
  return cutTo(`${state.label}  ${parts.join("  ")}`, width)
}

export interface Progress {
  /** Says how far the work is; draws only when it is time to. */
  readonly update: (
    done: number,
    more?: { readonly total?: number; readonly note?: string; readonly label?: string }
  ) => Effect.Effect<void>
}

/** Progress on stderr; the terminal's line is finished when the scope closes. */
export const makeProgress = (options: {
  readonly label: string
  readonly unit: string
  readonly total?: number | undefined
}): Effect.Effect<Progress, never, Screen | Scope.Scope> =>
  Effect.gen(function* () {
    const screen = yield* Screen
    const startedAt = yield* Clock.currentTimeMillis
    const terminal = screen.err.isTerminal
    let drawnAt = terminal ? Number.NEGATIVE_INFINITY : startedAt
    let state: ProgressState = { ...options, total: options.total, done: 0, elapsedMillis: 0, note: "" }
    let drawn = -1
    const draw = (now: number) =>
      Effect.gen(function* () {
        drawnAt = now
        drawn = state.done
        if (!terminal)
          return yield* screen.err.write(`${renderProgress(state, Number.POSITIVE_INFINITY, false)}\n`)
        const { columns } = yield* screen.size
        yield* screen.err.write(`\r\u001b[2K${renderProgress(state, columns - 1, true)}`)
      })
    yield* Effect.addFinalizer(() =>
      drawn < 0
        ? Effect.void
        : Effect.gen(function* () {
            if (drawn !== state.done) yield* draw(yield* Clock.currentTimeMillis)
            if (terminal) yield* screen.err.write("\n")
          })
    )
    return {
      update: (done, more = {}) =>
        Effect.gen(function* () {
          const now = yield* Clock.currentTimeMillis
          state = { ...state, ...more, done, elapsedMillis: now - startedAt }
          if (now - drawnAt >= (terminal ? TERMINAL_EVERY_MILLIS : PLAIN_EVERY_MILLIS)) yield* draw(now)
        })
    }
  })
