// `groundstate doctor`: looks for what would keep a runner from working here, and says what to do.
import { existsSync } from "node:fs"
import { resolve } from "node:path"
import { Effect, Either } from "effect"
import { CommandFailed } from "../../schema/error/CliError.ts"
import { defaultConfig } from "../runtime/Settings.ts"
import { loadSettings } from "../runtime/SettingsFile.ts"
import { checkAccess } from "./accessChecks.ts"
import {
  type Check,
  checkDataDir,
  checkLog,
  checkLoop,
  checkNode,
  checkOnnx,
  checkPort,
  checkSqlite
} from "./checks.ts"
import { checkDatabase } from "./databaseCheck.ts"
import { formatFlag, printAs, tableWidth } from "./Output.ts"
import { type Paint, paintFor } from "./paint.ts"
import { configFlag } from "./Run.ts"
import { Screen } from "./Screen.ts"
import { loadStreams } from "./streamDefinitions.ts"
import { subcommand } from "./subcommand.ts"
import { renderTable } from "./table.ts"

/** Check, status, what was found, what to do. */
export const renderChecks = (checks: ReadonlyArray<Check>, paint: Paint, width?: number): string =>
  renderTable<Check>(
    [
      { header: "CHECK", cell: (row) => row.check },
      {
        header: "STATUS",
        cell: (row) => row.status,
        paint: (text, row) =>
          row.status === "ok"
            ? paint.green(text)
            : row.status === "warning"
              ? paint.yellow(text)
              : paint.red(text)
      },
      { header: "FOUND", cell: (row) => row.found },
      { header: "FIX", cell: (row) => (row.fix === "" ? "-" : row.fix) }
    ],
    checks,
    width
  )

/** The configuration, where there is one; the other checks go on with the defaults where it can't be used. */
const checkConfig = (file: string) =>
  Effect.gen(function* () {
    const given = existsSync(file)
    const loaded = yield* Effect.either(loadSettings(given ? file : undefined))
    if (Either.isLeft(loaded)) {
      const count = loaded.left.problems.length
      const check: Check = {
        check: "configuration",
        status: "failed",
        found: `${file} has ${count} ${count === 1 ? "problem" : "problems"}: ${loaded.left.problems[0].message}`,
        fix: `groundstate config check ${file}`
      }
      return { settings: { ...defaultConfig, dataDir: resolve(defaultConfig.dataDir) }, checks: [check] }
    }
    const { settings } = loaded.right
    if (!given) {
      const check: Check = {
        check: "configuration",
        status: "warning",
        found: `there is no ${file}: the defaults are checked`,
        fix: "name the runner's file with --config; `groundstate demo` needs none"
      }
      return { settings, checks: [check] }
    }
    const streams = yield* Effect.either(loadStreams(settings))
    const stream: Check = Either.isLeft(streams)
      ? {
          check: "streams",
          status: "failed",
          found: `${streams.left.problems.length} problems: ${streams.left.problems[0].message}`,
          fix: `groundstate config check ${file}`
        }
      : {
          check: "streams",
          status: "ok",
          found: streams.right.map(({ definition }) => definition.stream).join(", "),
          fix: ""
        }
    const check: Check = { check: "configuration", status: "ok", found: `${file} is valid`, fix: "" }
    return { settings, checks: [check, stream] }
  })

export const doctor = subcommand({
  name: "doctor",
  summary: "Look for what would keep a runner from working here",
  detail: [
    "Node, timers and time, configuration and streams, the file of tokens and certificates (who may read them, how long they hold, whether other runners let this one in), data folder and disk, SQLite or the region's PostgreSQL (version, rights, sessions, clock, whether each active model lies there), event log, HTTP port (free, or a runner that answers), ONNX Runtime. Changes nothing. Exit code 0, or 1 where a check failed; warnings do not count."
  ],
  examples: [["doctor --config groundstate.yaml", "with the runner's own configuration"]],
  inputs: { config: configFlag, output: formatFlag },
  run: ({ config, output }) =>
    Effect.gen(function* () {
      const screen = yield* Screen
      const node = checkNode(process.versions.node)
      const loop = yield* checkLoop
      const { settings, checks: configured } = yield* checkConfig(config)
      const rest = yield* Effect.all(
        [
          checkDataDir(settings.dataDir),
          checkSqlite,
          checkDatabase(settings),
          checkLog(settings),
          checkPort(settings),
          checkOnnx
        ],
        { concurrency: "unbounded" }
      )
      const access = yield* checkAccess(settings)
      const checks = [node, loop, ...configured, ...access, ...rest.flat()]
      yield* printAs(
        output,
        checks,
        Effect.map(tableWidth, (width) => renderChecks(checks, paintFor(screen.out.colour), width))
      )
      const bad = checks.filter((check) => check.status === "failed").length
      if (bad > 0) {
        return yield* new CommandFailed({
          problem: `${bad} ${bad === 1 ? "check" : "checks"} failed.`,
          next: "Do what the FIX column says, then run `groundstate doctor` again."
        })
      }
    })
})
