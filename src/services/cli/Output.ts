// How an answer is printed: a table for people, the API's own JSON, or the same as YAML.
import { Clock, Duration, Effect, Ref } from "effect"
import { stringify } from "yaml"
import type { ApiError } from "./ApiClient.ts"
import { choiceFlag, defaultFlag, durationMillis, wholeNumber } from "./inputs.ts"
import { Screen } from "./Screen.ts"
import { type Column, renderTable } from "./table.ts"

export type OutputForm = "table" | "json" | "yaml"

/** `-o table|json|yaml` of every command that reads. */
export const outputFlag = choiceFlag("output", {
  alias: "o",
  about: "json is exactly what the API answers, yaml the same as YAML",
  choices: ["table", "json", "yaml"],
  fallback: "table"
})

/** `-o` where `--output` names a file: the form of the summary on stdout. */
export const formatFlag = choiceFlag("format", {
  alias: "o",
  about: "form of the summary on stdout",
  choices: ["table", "json", "yaml"],
  fallback: "table"
})

export const limitFlag = defaultFlag(
  "limit",
  { value: "N", about: "at most so many; pages are followed until then", fallback: "100" },
  wholeNumber(1, 1_000_000)
)

export const everyFlag = defaultFlag(
  "every",
  { value: "TIME", about: "how often to ask again", fallback: "2s" },
  durationMillis
)

const structured = (form: "json" | "yaml", value: unknown): string =>
  form === "json" ? JSON.stringify(value, null, 2) : stringify(value, { lineWidth: 0 }).trimEnd()

/** Width that a table on stdout is cut to; undefined where stdout is not a terminal. */
export const tableWidth: Effect.Effect<number | undefined, never, Screen> = Effect.gen(function* () {
  const screen = yield* Screen
  return screen.out.isTerminal ? (yield* screen.size).columns : undefined
})

/** Prints `value` as it is, or the text that `table` makes of it (only then is it decoded). */
export const printAs = <E, R>(
  form: OutputForm,
  value: unknown,
  table: Effect.Effect<string, E, R>
): Effect.Effect<void, E, R | Screen> =>
  Effect.gen(function* () {
    const screen = yield* Screen
    const text = form === "table" ? yield* table : structured(form, value)
    yield* screen.out.write(`${text}\n`)
  })

/** Prints a list; an empty table is a notice on stderr, as kubectl does. */
export const printList = <Row, E, R>(options: {
  readonly form: OutputForm
  /** The body to print for json and yaml. */
  readonly body: unknown
  readonly rows: Effect.Effect<ReadonlyArray<Row>, E, R>
  readonly columns: (now: number) => ReadonlyArray<Column<Row>>
  /** For example `No devices.` */
  readonly empty: string
}): Effect.Effect<void, E, R | Screen> =>
  Effect.gen(function* () {
    const screen = yield* Screen
    if (options.form !== "table")
      return yield* screen.out.write(`${structured(options.form, options.body)}\n`)
    const rows = yield* options.rows
    if (rows.length === 0) return yield* screen.err.write(`${options.empty}\n`)
    const now = yield* Clock.currentTimeMillis
    yield* screen.out.write(`${renderTable(options.columns(now), rows, yield* tableWidth)}\n`)
  })

/**
 * Lists again and again until it is interrupted: in place on a terminal, elsewhere the rows that are new or
 * have changed (`json`: one object a line). A runner that goes away later is waited for.
 */
export const watchList = <Row>(options: {
  readonly form: OutputForm
  readonly what: string
  readonly every: number
  readonly fetch: Effect.Effect<ReadonlyArray<unknown>, ApiError>
  readonly keyOf: (item: unknown) => string
  readonly rows: (items: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<Row>, ApiError>
  readonly columns: (now: number) => ReadonlyArray<Column<Row>>
}): Effect.Effect<never, ApiError, Screen> =>
  Effect.gen(function* () {
    const screen = yield* Screen
    const inPlace = options.form === "table" && screen.out.isTerminal
    const seen = yield* Ref.make<ReadonlyMap<string, string>>(new Map())
    const show = (items: ReadonlyArray<unknown>, first: boolean) =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        if (inPlace) {
          const { columns, rows } = yield* screen.size
          const lines = renderTable(options.columns(now), yield* options.rows(items), columns).split("\n")
          const more = lines.length > rows - 2 ? [`and ${lines.length - rows + 3} more`] : []
          const title = `${options.what}, every ${options.every / 1_000} s; Ctrl-C ends`
          const view = [title, ...lines.slice(0, rows - 2 - more.length), ...more]
          yield* screen.out.write(`\u001b[H${view.map((line) => `${line}\u001b[K`).join("\n")}\u001b[J`)
          return
        }
        const before = yield* Ref.get(seen)
        const after = new Map(items.map((item) => [options.keyOf(item), JSON.stringify(item)]))
        yield* Ref.set(seen, after)
        const changed = items.filter(
          (item) => before.get(options.keyOf(item)) !== after.get(options.keyOf(item))
        )
        if (options.form === "json") {
          yield* screen.out.write(changed.map((item) => `${JSON.stringify(item)}\n`).join(""))
        } else if (options.form === "yaml") {
          yield* screen.out.write(changed.map((item) => `---\n${structured("yaml", item)}\n`).join(""))
        } else if (changed.length > 0 || first) {
          const text = renderTable(options.columns(now), yield* options.rows(changed))
          yield* screen.out.write(`${first ? text : text.slice(text.indexOf("\n") + 1)}\n`)
        }
      })
    const again = Effect.gen(function* () {
      yield* Effect.sleep(Duration.millis(options.every))
      const items = yield* options.fetch
      yield* show(items, false)
    }).pipe(
      Effect.catchTag("ServerUnavailable", (error) => screen.err.write(`${error.message} Asking again.\n`))
    )
    // What fails at once is told on the ordinary screen.
    const first = yield* options.fetch
    const follow = Effect.zipRight(show(first, true), Effect.forever(again))
    if (!inPlace) return yield* follow
    return yield* Effect.scoped(
      Effect.zipRight(
        Effect.acquireRelease(screen.out.write("\u001b[?1049h\u001b[?25l"), () =>
          screen.out.write("\u001b[?25h\u001b[?1049l")
        ),
        follow
      )
    )
  })
