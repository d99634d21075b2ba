// The command line: all commands under one root, and a run of one of them to its exit code.
import { CliConfig, Command, HelpDoc, ValidationError } from "@effect/cli"
import { FetchHttpClient, type HttpClient } from "@effect/platform"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { Cause, Effect, Layer, Logger, Option, Predicate } from "effect"
import { exitCodes, InternalFailure } from "../../schema/error/CliError.ts"
import { firstLogger } from "../observe/loggers.ts"
import { Environment } from "../runtime/SettingsFile.ts"
import { version } from "../runtime/version.ts"
import { cells } from "./Cells.ts"
import { certificates } from "./Certificates.ts"
import { makeCompletion } from "./Completion.ts"
import { config } from "./ConfigCommand.ts"
import { readCommandLine } from "./commandLine.ts"
import { deadletters } from "./DeadLetters.ts"
import { demo } from "./Demo.ts"
import { devices } from "./Devices.ts"
import { doctor } from "./Doctor.ts"
import { evaluate } from "./Evaluate.ts"
import { renderHelp } from "./helpText.ts"
import { incidents } from "./Incidents.ts"
import { models } from "./Models.ts"
import { produce } from "./Produce.ts"
import type { Programs } from "./Programs.ts"
import { paintFor, unpainted } from "./paint.ts"
import { regions } from "./Regions.ts"
import { replay } from "./Replay.ts"
import { run } from "./Run.ts"
import { runners } from "./Runners.ts"
import { score } from "./Score.ts"
import { Screen } from "./Screen.ts"
import { group } from "./subcommand.ts"
import { tokens } from "./Tokens.ts"
import { train } from "./Train.ts"

const NAME = "groundstate"
/** Widest help: longer lines are hard to read. */
const HELP_COLUMNS_MAX = 100

const completion = makeCompletion((): Command.Command<string, unknown, unknown, unknown> => root.command)

const root = group({
  name: NAME,
  summary: "Scores event streams with energy-based models where the events arise, and acts on what it finds",
  examples: [
    ["demo", "see it work, without any setup"],
    ["run --config groundstate.yaml", "run a runner"],
    ["devices get --state incident", "ask a runner which devices are in trouble"]
  ],
  children: [
    demo,
    run,
    train,
    score,
    evaluate,
    replay,
    produce,
    devices,
    cells,
    regions,
    runners,
    models,
    incidents,
    deadletters,
    tokens,
    certificates,
    config,
    doctor,
    completion
  ]
})

/** The pages of help of every command. */
export const rootPage = root.page

/** What the root's help ends with; `docs/cli.md` says the same. */
export const helpFooter = `Exit codes:
  ${exitCodes.ok}   done, or stopped by Ctrl-C or SIGTERM
  ${exitCodes.failed}   failed: it was understood and could not be done
  ${exitCodes.usage}   usage: the command line is wrong
  ${exitCodes.unavailable}  service unavailable: no runner or broker answered
  ${exitCodes.internal}  internal error
  ${exitCodes.configuration}  configuration: a file or variable is wrong; nothing was started

Environment:
  GROUNDSTATE_SERVER   address of the runner that is asked
  GROUNDSTATE_TOKEN    what it knows you by; GROUNDSTATE_TOKEN_FILE names a file that holds it
  GROUNDSTATE_*        settings of a runner; see \`groundstate run --help\`
  NO_COLOR             no colour, on terminals too`

/** Everything that commands need but the programs: terminal, environment, HTTP, files. */
export const layerCli: Layer.Layer<Screen | Environment | HttpClient.HttpClient | NodeContext.NodeContext> =
  Layer.mergeAll(Screen.layer, FetchHttpClient.layer, NodeContext.layer).pipe(
    Layer.provideMerge(Environment.layer)
  )

const validationText = (error: ValidationError.ValidationError): string =>
  unpainted(HelpDoc.toAnsiText(error.error)).replace(/\s+/g, " ").trim()

/** Exit code and message of whatever a command failed with. */
export const describeFailure = (
  error: unknown,
  path: ReadonlyArray<string>
): { readonly code: number; readonly message: string } => {
  if (ValidationError.isValidationError(error)) {
    const text = validationText(error)
    return {
      code: exitCodes.usage,
      message: `${/[.!?]$/.test(text) ? text : `${text}.`} See \`${path.join(" ")} --help\`.`
    }
  }
  const message =
    Predicate.hasProperty(error, "message") && typeof error.message === "string"
      ? error.message
      : String(error)
  if (Predicate.hasProperty(error, "exitCode") && typeof error.exitCode === "number")
    return { code: error.exitCode, message }
  if (Predicate.isTagged(error, "ConfigInvalid")) return { code: exitCodes.configuration, message }
  if (Predicate.isTagged(error, "LogUnavailable") || Predicate.isTagged(error, "StorageUnavailable")) {
    return { code: exitCodes.unavailable, message }
  }
  return { code: exitCodes.failed, message }
}

const showError = (message: string) =>
  Effect.flatMap(Screen, ({ err }) => err.write(`${paintFor(err.colour).red("error:")} ${message}\n`))

// Both outputs belong to the commands: the parser's own messages are told by `describeFailure`, logs go to stderr.
const quiet = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.consoleWith((console) =>
    Effect.withConsole(effect, { ...console, error: () => Effect.void, log: () => Effect.void })
  ).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, firstLogger)))

const parse = Command.run(root.command, { name: NAME, version, executable: NAME })

/**
 * Runs one command line (`process.argv`: interpreter, script, words) and answers its exit code. Never fails;
 * an interruption from outside (Ctrl-C, SIGTERM) stays one, after everything the command opened is closed.
 */
export const runCli = (
  argv: ReadonlyArray<string>
): Effect.Effect<
  number,
  never,
  Programs | Screen | Environment | HttpClient.HttpClient | NodeContext.NodeContext
> =>
  Effect.gen(function* () {
    const screen = yield* Screen
    const asked = readCommandLine(root.page, argv.slice(2))
    if (asked._tag === "Left") {
      yield* showError(asked.left.message)
      return asked.left.exitCode
    }
    if (asked.right.kind === "version") {
      yield* screen.out.write(`${NAME} ${version}\n`)
      return exitCodes.ok
    }
    const { page, path } = asked.right
    if (asked.right.kind !== "run") {
      const complete = asked.right.kind === "help"
      const surface = complete ? screen.out : screen.err
      const { columns } = yield* screen.size
      const help = renderHelp(page, path, {
        width: Math.min(HELP_COLUMNS_MAX, Math.max(40, columns)),
        paint: paintFor(surface.colour),
        ...(path.length === 1 ? { footer: helpFooter } : {})
      })
      yield* surface.write(`${help}\n`)
      return complete ? exitCodes.ok : exitCodes.usage
    }
    const outcome = yield* Effect.exit(
      quiet(parse([...argv.slice(0, 2), ...asked.right.words])).pipe(
        Effect.provide(CliConfig.layer({ isCaseSensitive: true, showBuiltIns: false }))
      )
    )
    if (outcome._tag === "Success") return exitCodes.ok
    const failure = Cause.failureOption(outcome.cause)
    if (Option.isSome(failure)) {
      const { code, message } = describeFailure(failure.value, path)
      yield* showError(message)
      return code
    }
    // Whoever read stdout has gone, as in `| head`: there is nothing left to say.
    if (Cause.isInterruptedOnly(outcome.cause)) return exitCodes.ok
    const internal = new InternalFailure({ detail: String(Cause.squash(outcome.cause)) })
    yield* showError(`${internal.message}\n${Cause.pretty(outcome.cause)}`)
    return internal.exitCode
  })
