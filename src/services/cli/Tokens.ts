// `groundstate tokens`: makes, lists, rotates and revokes what runners know people and programs by.
import { resolve } from "node:path"
import { Clock, Effect, Either } from "effect"
import { type Role, roleNames } from "../../schema/api/Access.ts"
import { CommandFailed, UsageInvalid } from "../../schema/error/CliError.ts"
import { changeTokenFile, readTokenFile } from "../runtime/access/TokenFile.ts"
import { mintToken, type TokenRecord } from "../runtime/access/tokens.ts"
import { nearestName } from "../runtime/definitions/nearestName.ts"
import { loadSettings } from "../runtime/SettingsFile.ts"
import { formatTime } from "./format.ts"
import {
  defaultFlag,
  durationMillis,
  optionalFlag,
  type Parse,
  requiredArgument,
  requiredFlag
} from "./inputs.ts"
import { outputFlag, printAs, printList } from "./Output.ts"
import { configFlag } from "./Run.ts"
import { say } from "./Screen.ts"
import { group, subcommand } from "./subcommand.ts"
import type { Column } from "./table.ts"

/** What is shown of a token: never its digest, which helps nobody. */
const shown = ({ digest: _, createdAt, expiresAt, ...record }: TokenRecord) => ({
  ...record,
  createdAt: createdAt.toISOString(),
  expiresAt: expiresAt?.toISOString() ?? null
})

const columns = (now: number): ReadonlyArray<Column<TokenRecord>> => [
  { header: "ID", cell: (row) => row.id },
  { header: "NAME", cell: (row) => row.name },
  { header: "ROLES", cell: (row) => row.roles.join(",") },
  { header: "REGIONS", cell: (row) => row.regions.join(",") },
  { header: "MADE", cell: (row) => formatTime(row.createdAt.getTime()) },
  {
    header: "EXPIRES",
    cell: (row) =>
      row.expiresAt === null
        ? "never"
        : now >= row.expiresAt.getTime()
          ? `expired ${formatTime(row.expiresAt.getTime())}`
          : formatTime(row.expiresAt.getTime())
  }
]

const words = (text: string): ReadonlyArray<string> =>
  text
    .split(",")
    .map((word) => word.trim())
    .filter((word) => word !== "")

const rolesOf: Parse<readonly [Role, ...ReadonlyArray<Role>]> = (text) => {
  const asked = words(text)
  const strange = asked.find((word) => !roleNames.some((role) => role === word))
  const roles = roleNames.filter((role) => asked.includes(role))
  if (strange === undefined && roles.length > 0) return Either.right([roles[0], ...roles.slice(1)])
  const near = strange === undefined ? undefined : nearestName(strange, roleNames)
  return Either.left(
    `wants one or more of ${roleNames.join(", ")}, separated by commas${near === undefined ? "" : ` (did you mean ${near}?)`}`
  )
}

/** Milliseconds; undefined for `never`. */
const lifetime: Parse<number | undefined> = (text) =>
  text === "never" ? Either.right(undefined) : durationMillis(text)

const nameOf: Parse<string> = (text) =>
  /^[^\p{C}]{1,200}$/u.test(text)
    ? Either.right(text)
    : Either.left("wants 1 to 200 characters without line breaks")

const fileFlag = optionalFlag("file", {
  value: "FILE",
  about: "the file of tokens; access.tokensFile of the runner's configuration without it"
})
const place = { config: configFlag, file: fileFlag }

interface Place {
  readonly config: string
  readonly file: string | undefined
}

/** The file of tokens, and the region that the configuration names. */
const placeOf = ({ config, file }: Place) =>
  Effect.gen(function* () {
    if (file !== undefined) return { file: resolve(file), region: undefined }
    const { settings } = yield* loadSettings(config)
    const { tokensFile } = settings.access
    if (tokensFile !== undefined) return { file: tokensFile, region: settings.region }
    return yield* new UsageInvalid({
      problem: `${config} names no file of tokens.`,
      next: "Name one with --file, and in the configuration as `access: { tokensFile: tokens.json }`."
    })
  })

const told = (token: string, record: TokenRecord, file: string) => ({
  token,
  ...shown(record),
  file
})

const create = subcommand({
  name: "create",
  summary: "Make a token and print it: the only time that it can be seen",
  detail: [
    "The file keeps a digest of the token, who it is for and what it may do. viewer reads; producer sends events and asks for verdicts; operator reads, quarantines, releases, overrides, labels and replays dead letters; admin may do all of that, and activates and retires models. Runners know it within two seconds. The token is all that stdout holds."
  ],
  examples: [
    ["tokens create --role operator --name ada --expires 90d", "for a person"],
    ["tokens create --role producer --name gateway-7 > gateway.token", "for a program"]
  ],
  inputs: {
    name: requiredFlag("name", { value: "NAME", about: "whose it is; kept with every decision" }, nameOf),
    role: requiredFlag(
      "role",
      { value: "ROLE", about: `${roleNames.join(", ")}; several by commas` },
      rolesOf
    ),
    expires: defaultFlag(
      "expires",
      {
        value: "TIME",
        about: "how long it holds, for example 12h or 90d; never for no end",
        fallback: "90d"
      },
      lifetime
    ),
    region: optionalFlag("region", {
      value: "REGION",
      about: "where it holds; several by commas, * for all; the configuration's region without it"
    }),
    ...place,
    output: outputFlag
  },
  run: ({ name, role, expires, region, output, ...where }) =>
    Effect.gen(function* () {
      const at = yield* placeOf(where)
      const named = region === undefined ? [at.region ?? "*"] : words(region)
      if (named.length === 0) {
        return yield* new UsageInvalid({
          problem: "--region names no region.",
          next: "Give a name, several by commas, or *."
        })
      }
      const now = yield* Clock.currentTimeMillis
      const { token, record } = mintToken({
        name,
        roles: role,
        regions: [named[0], ...named.slice(1)],
        createdAt: new Date(now),
        expiresAt: expires === undefined ? null : new Date(now + expires)
      })
      yield* changeTokenFile(at.file, (tokens) => Effect.succeed([undefined, [...tokens, record]] as const))
      yield* say(
        `token/${record.id} made for ${name} (${role.join(",")}) in ${at.file}. It is not shown again.`
      )
      yield* printAs(output, told(token, record, at.file), Effect.succeed(token))
    })
})

const list = subcommand({
  name: "list",
  summary: "List tokens: whose they are, what they may do, until when",
  inputs: { ...place, output: outputFlag },
  run: ({ output, ...where }) =>
    Effect.gen(function* () {
      const at = yield* placeOf(where)
      const tokens = yield* readTokenFile(at.file)
      yield* printList({
        form: output,
        body: { items: tokens.map(shown) },
        rows: Effect.succeed(tokens),
        columns,
        empty: "No tokens. `groundstate tokens create` makes one."
      })
    })
})

/** The one token that the words mean: its id, or a name that no other has. */
const meant = (
  tokens: ReadonlyArray<TokenRecord>,
  which: string
): Effect.Effect<TokenRecord, CommandFailed> => {
  const found = tokens.filter((token) => token.id === which || token.name === which)
  if (found.length === 1) return Effect.succeed(found[0])
  return new CommandFailed(
    found.length === 0
      ? { problem: `There is no token ${which}.`, next: "`groundstate tokens list` shows those that are." }
      : {
          problem: `${found.length} tokens are called ${which}: ${found.map(({ id }) => id).join(", ")}.`,
          next: "Name one by its id."
        }
  )
}

const which = requiredArgument("TOKEN", "its id, or its name where only one has it")

const revoke = subcommand({
  name: "revoke",
  summary: "Take a token away: runners refuse it within two seconds",
  examples: [["tokens revoke ada", "by name, or by the id that `tokens list` shows"]],
  inputs: { which, ...place },
  run: ({ which: named, ...where }) =>
    Effect.gen(function* () {
      const at = yield* placeOf(where)
      const gone = yield* changeTokenFile(at.file, (tokens) =>
        Effect.map(
          meant(tokens, named),
          (record) => [record, tokens.filter(({ id }) => id !== record.id)] as const
        )
      )
      yield* say(`token/${gone.id} of ${gone.name} revoked.`)
    })
})

const rotate = subcommand({
  name: "rotate",
  summary: "Make a new token in place of one that goes on for a while",
  detail: [
    "The new one has the name, roles and regions of the old, and holds as long as that was made for. The old one ends after --grace, so that programs can be given the new one first."
  ],
  examples: [["tokens rotate gateway-7 --grace 24h > gateway.token", "then give the program the new file"]],
  inputs: {
    which,
    grace: defaultFlag(
      "grace",
      { value: "TIME", about: "how long the old one goes on", fallback: "24h" },
      durationMillis
    ),
    ...place,
    output: outputFlag
  },
  run: ({ which: named, grace, output, ...where }) =>
    Effect.gen(function* () {
      const at = yield* placeOf(where)
      const now = yield* Clock.currentTimeMillis
      const { token, record, old } = yield* changeTokenFile(at.file, (tokens) =>
        Effect.map(meant(tokens, named), (before) => {
          const { name, roles, regions, createdAt, expiresAt } = before
          const made = mintToken({
            name,
            roles,
            regions,
            createdAt: new Date(now),
            expiresAt: expiresAt === null ? null : new Date(now + expiresAt.getTime() - createdAt.getTime())
          })
          const end = Math.min(now + grace, expiresAt?.getTime() ?? Number.POSITIVE_INFINITY)
          const ending = { ...before, expiresAt: new Date(end) }
          const kept = tokens.map((one) => (one.id === before.id ? ending : one))
          return [{ ...made, old: ending }, [...kept, made.record]] as const
        })
      )
      yield* say(
        `token/${record.id} made for ${record.name}; token/${old.id} ends ${formatTime(old.expiresAt.getTime())}.`
      )
      yield* printAs(output, told(token, record, at.file), Effect.succeed(token))
    })
})

/** The whole of `groundstate tokens`. */
export const tokens = group({
  name: "tokens",
  summary: "Make, list, rotate and revoke what runners know people and programs by",
  children: [create, list, rotate, revoke]
})
