// Where a command writes: data on stdout, talk on stderr, and what is known of the terminal behind them.
import { Context, Effect, Layer } from "effect"
import { Environment } from "../runtime/SettingsFile.ts"

/** One of the two output streams. */
export interface Surface {
  /** Writes the text as it is. When the reader has gone (`| head`), interrupts the fiber instead of failing. */
  readonly write: (text: string) => Effect.Effect<void>
  readonly isTerminal: boolean
  /** True on a terminal without NO_COLOR: escape sequences may be written. */
  readonly colour: boolean
}

export class Screen extends Context.Tag("groundstate/services/cli/Screen")<
  Screen,
  {
    readonly out: Surface
    readonly err: Surface
    /** Of the terminal now; 80 × 24 where there is none. */
    readonly size: Effect.Effect<{ readonly columns: number; readonly rows: number }>
  }
>() {
  /** The process's own stdout and stderr. */
  static readonly layer = Layer.effect(
    Screen,
    Effect.gen(function* () {
      const { variables } = yield* Environment
      // https://no-color.org: any non-empty value; a dumb terminal knows no escape sequences.
      const plain = (variables["NO_COLOR"] ?? "") !== "" || variables["TERM"] === "dumb"
      return {
        out: surface(process.stdout, plain),
        err: surface(process.stderr, plain),
        size: Effect.sync(() => {
          const terminal = process.stdout.isTTY ? process.stdout : process.stderr
          return { columns: terminal.columns || 80, rows: terminal.rows || 24 }
        })
      }
    })
  )
}

const surface = (stream: NodeJS.WriteStream, plain: boolean): Surface => {
  // The write's callback tells of a failure; without a listener Node would end the process as well.
  stream.on("error", () => {})
  return {
    write: (text) =>
      Effect.async<void>((resume) => {
        stream.write(text, (error) => resume(error ? Effect.interrupt : Effect.void))
      }),
    isTerminal: stream.isTTY === true,
    colour: stream.isTTY === true && !plain
  }
}

/** A line of data. */
export const printLine = (line: string): Effect.Effect<void, never, Screen> =>
  Effect.flatMap(Screen, (screen) => screen.out.write(`${line}\n`))

/** A line of talk: notices, progress, errors. */
export const say = (line: string): Effect.Effect<void, never, Screen> =>
  Effect.flatMap(Screen, (screen) => screen.err.write(`${line}\n`))
