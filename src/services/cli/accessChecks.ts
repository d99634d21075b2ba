// What `doctor` looks at of access: token file, certificates, and whether the clock can be trusted for either.
import { X509Certificate } from "node:crypto"
import { readdir, readFile, stat } from "node:fs/promises"
import { join } from "node:path"
import { Clock, Effect, Either } from "effect"
import { readIdentity } from "../runtime/access/liveIdentity.ts"
import { readTokenFile } from "../runtime/access/TokenFile.ts"
import type { RunnerConfig } from "../runtime/Settings.ts"
import type { Check } from "./checks.ts"

const DAY_MILLIS = 86_400_000
/** Certificates and tokens that end sooner are told. */
const SOON_MILLIS = 14 * DAY_MILLIS
/** Tokens of an issuer hold within a minute of clock difference. */
const SKEW_MILLIS = 60_000
const OTHERS = 0o077
/** As `groundstate certificates` calls its own. */
export const TRIAL_AUTHORITY = "Groundstate trial authority"

const days = (millis: number): string => `${Math.floor(millis / DAY_MILLIS)} days`

/** Nobody but the owner may read or change it. */
const openTo = (file: string): Effect.Effect<number> =>
  Effect.promise(() =>
    stat(file).then(
      ({ mode }) => mode & OTHERS,
      () => 0
    )
  )

const checkTokens = (file: string): Effect.Effect<Check> =>
  Effect.gen(function* () {
    const read = yield* Effect.either(readTokenFile(file))
    if (Either.isLeft(read)) {
      const [{ message, fix }] = read.left.problems
      return { check: "tokens", status: "failed", found: `${file}: ${message}`, fix }
    }
    if ((yield* openTo(file)) !== 0) {
      return {
        check: "tokens",
        status: "failed",
        found: `others may read or change ${file}`,
        fix: `chmod 600 ${file}`
      }
    }
    const now = yield* Clock.currentTimeMillis
    const left = read.right.map(({ expiresAt }) => (expiresAt?.getTime() ?? Number.POSITIVE_INFINITY) - now)
    const valid = left.filter((millis) => millis > 0)
    if (valid.length === 0) {
      const fix = "groundstate tokens create --role admin --name NAME"
      return {
        check: "tokens",
        status: "failed",
        found: `no token of ${file} holds: nobody is answered`,
        fix
      }
    }
    const soon = valid.filter((millis) => millis < SOON_MILLIS).length
    return soon === 0
      ? { check: "tokens", status: "ok", found: `${valid.length} hold`, fix: "" }
      : {
          check: "tokens",
          status: "warning",
          found: `${soon} of ${valid.length} end within ${days(SOON_MILLIS)}`,
          fix: "groundstate tokens list, then groundstate tokens rotate TOKEN"
        }
  })

const checkCertificate = (
  check: string,
  section: string,
  tls: NonNullable<RunnerConfig["http"]["tls"]>
): Effect.Effect<Check> =>
  Effect.gen(function* () {
    const read = yield* Effect.either(readIdentity(section, tls))
    if (Either.isLeft(read)) {
      const [{ file, message, fix }] = read.left.problems
      return { check, status: "failed", found: `${file}: ${message}`, fix }
    }
    if ((yield* openTo(tls.keyFile)) !== 0) {
      return {
        check,
        status: "failed",
        found: `others may read ${tls.keyFile}`,
        fix: `chmod 600 ${tls.keyFile}`
      }
    }
    const pem = yield* Effect.promise(() => readFile(tls.certificateFile))
    const { validFrom, validTo } = new X509Certificate(pem)
    const now = yield* Clock.currentTimeMillis
    const left = Date.parse(validTo) - now
    const fix = `put a new certificate and its key in the place of ${tls.certificateFile}: runners take it without a restart`
    if (Date.parse(validFrom) > now)
      return {
        check,
        status: "failed",
        found: `it holds only from ${validFrom}`,
        fix: "check the machine's clock"
      }
    if (left <= 0) return { check, status: "failed", found: `it ended ${validTo}`, fix }
    return left < SOON_MILLIS
      ? { check, status: "warning", found: `it ends in ${days(left)}`, fix }
      : { check, status: "ok", found: `it holds for ${days(left)}`, fix: "" }
  })

/** Would the region's other runners let this one in? And whose authority says so? */
const checkRunnerCertificate = (
  tls: NonNullable<RunnerConfig["cluster"]["tls"]>,
  region: string
): Effect.Effect<Check> =>
  Effect.gen(function* () {
    const check = "runner certificate"
    const holds = yield* checkCertificate(check, "cluster.tls", tls)
    if (holds.status === "failed") return holds
    const { runnerName } = yield* Effect.promise(() => import("../runtime/RunnerSockets.ts"))
    const name = runnerName(region)
    const [own, authority] = yield* Effect.promise(() =>
      Promise.all(
        [tls.certificateFile, tls.authorityFile].map(
          async (file) => new X509Certificate(await readFile(file))
        )
      )
    )
    const failed = (found: string, fix: string): Check => ({ check, status: "failed", found, fix })
    const signs = `have the authority of ${tls.authorityFile} sign a certificate for ${name}`
    if (!own.verify(authority.publicKey))
      return failed(`${tls.certificateFile} was not signed by the authority of ${tls.authorityFile}`, signs)
    if (own.checkHost(name, { subject: "never" }) === undefined)
      return failed(`${tls.certificateFile} does not bear the name ${name}`, signs)
    if (holds.status === "warning") return holds
    if (!authority.subject.includes(TRIAL_AUTHORITY)) return holds
    const trial: Check = {
      check,
      status: "warning",
      found: `${holds.found}; its authority was made for a trial`,
      fix: `in production have your own authority sign a certificate for ${name}, for days rather than years`
    }
    return trial
  }).pipe(
    Effect.catchAllDefect((cause) =>
      Effect.succeed({
        check: "runner certificate",
        status: "failed" as const,
        found: `${tls.authorityFile}: ${cause instanceof Error ? cause.message : String(cause)}`,
        fix: "cluster.tls.authorityFile is the certificate, in PEM, of whoever signs every runner's"
      })
    )
  )

/** What the runner wrote last lies in the past, if the clock was never set back. */
const checkClock = (dataDir: string): Effect.Effect<Check> =>
  Effect.gen(function* () {
    const newest = yield* Effect.promise(async () => {
      const names = await readdir(dataDir).catch(() => [])
      const times = await Promise.all(
        names.map((name) =>
          stat(join(dataDir, name)).then(
            ({ mtimeMs }) => mtimeMs,
            () => 0
          )
        )
      )
      return Math.max(0, ...times)
    })
    const now = yield* Clock.currentTimeMillis
    return newest - now <= SKEW_MILLIS
      ? { check: "time", status: "ok", found: new Date(now).toISOString(), fix: "" }
      : {
          check: "time",
          status: "failed",
          found: `${new Date(now).toISOString()}, and the data folder was written at ${new Date(newest).toISOString()}`,
          fix: "set the clock (NTP): tokens and certificates are judged by it"
        }
  })

/** Those of them that the configuration has. */
export const checkAccess = ({
  access,
  cluster,
  http,
  dataDir,
  region
}: RunnerConfig): Effect.Effect<ReadonlyArray<Check>> =>
  Effect.all([
    checkClock(dataDir),
    ...(access.tokensFile === undefined ? [] : [checkTokens(access.tokensFile)]),
    ...(http.tls === undefined ? [] : [checkCertificate("certificate", "http.tls", http.tls)]),
    ...(cluster.tls === undefined ? [] : [checkRunnerCertificate(cluster.tls, region)])
  ])
