// `groundstate certificates`: an authority and certificates for a trial; in production they come from elsewhere.
import { existsSync } from "node:fs"
import { mkdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { Clock, Effect } from "effect"
import { CommandFailed } from "../../schema/error/CliError.ts"
import { runnerName } from "../runtime/RunnerSockets.ts"
import { TRIAL_AUTHORITY } from "./accessChecks.ts"
import { defaultFlag, optionalFlag, requiredFlag, wholeNumber } from "./inputs.ts"
import { say } from "./Screen.ts"
import { group, subcommand } from "./subcommand.ts"

const failed = (cause: unknown) =>
  new CommandFailed({
    problem: `The certificates can't be written (${(cause as NodeJS.ErrnoException).code ?? String(cause)}).`,
    next: "Name a folder that this user may write, with another --name where one of that name is there."
  })

/** Never over a file that is there: a key that is lost is lost. */
const writeNew = (file: string, text: string, mode: number) =>
  Effect.tryPromise({ try: () => writeFile(file, text, { flag: "wx", mode }), catch: failed })

const create = subcommand({
  name: "create",
  summary: "Make an authority and a runner's certificate, for a trial",
  detail: [
    "DIR then holds ca.pem, which everybody may know, ca-key.pem, which makes further certificates and belongs nowhere near a runner, and NAME.pem with NAME-key.pem. A DIR that has an authority already keeps it, so that every runner of a region gets its own certificate: run it once for each. The certificate serves HTTPS under the hosts given, and between runners under the region's name. Keys are readable for their owner alone."
  ],
  examples: [
    ["certificates create --output certificates --region north", "an authority and runner.pem"],
    ["certificates create --output certificates --region north --name runner-2 --host 10.0.0.7", "one more"]
  ],
  inputs: {
    folder: requiredFlag("output", { value: "DIR", about: "folder to write to; made where there is none" }),
    name: defaultFlag("name", { value: "NAME", about: "of the runner and its files", fallback: "runner" }),
    region: defaultFlag("region", { value: "REGION", about: "whose runner it is", fallback: "local" }),
    host: optionalFlag("host", {
      value: "HOST",
      about: "names or addresses that it is reached by, separated by commas, besides localhost"
    }),
    days: defaultFlag(
      "days",
      { value: "N", about: "how long they hold", fallback: "90" },
      wholeNumber(1, 3_650)
    )
  },
  run: ({ folder, name, region, host, days }) =>
    Effect.gen(function* () {
      const { makeAuthority, makeCertificate } = yield* Effect.promise(
        () => import("../runtime/access/certificates.ts")
      )
      const made = { now: yield* Clock.currentTimeMillis, days }
      const at = (file: string) => join(folder, file)
      yield* Effect.tryPromise({ try: () => mkdir(folder, { recursive: true, mode: 0o700 }), catch: failed })
      if (!existsSync(at("ca.pem"))) {
        const authority = makeAuthority(`${TRIAL_AUTHORITY} (${region})`, made)
        yield* writeNew(at("ca-key.pem"), authority.key, 0o600)
        yield* writeNew(at("ca.pem"), authority.certificate, 0o644)
      }
      const read = (file: string) =>
        Effect.tryPromise({ try: () => readFile(at(file), "utf8"), catch: failed })
      const authority = { certificate: yield* read("ca.pem"), key: yield* read("ca-key.pem") }
      const given = (host ?? "").split(",").map((one) => one.trim())
      const hosts = [runnerName(region), "localhost", "127.0.0.1", ...given.filter((one) => one !== "")]
      const pair = makeCertificate(authority, name, hosts, made)
      yield* writeNew(at(`${name}-key.pem`), pair.key, 0o600)
      yield* writeNew(at(`${name}.pem`), pair.certificate, 0o644)
      yield* say(
        `${at(`${name}.pem`)} made, for ${hosts.join(", ")}. Keep ${at("ca-key.pem")} away from runners.`
      )
    })
})

/** The whole of `groundstate certificates`. */
export const certificates = group({
  name: "certificates",
  summary: "Make an authority and certificates of runners, for a trial",
  children: [create]
})
