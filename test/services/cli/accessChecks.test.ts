// What `doctor` says of tokens, certificates and the clock: each fault is found, with what to do.
import { chmodSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { it } from "@effect/vitest"
import { Effect } from "effect"
import { afterAll, beforeAll, expect } from "vitest"
import { checkAccess, TRIAL_AUTHORITY } from "../../../src/services/cli/accessChecks.ts"
import { makeAuthority, makeCertificate } from "../../../src/services/runtime/access/certificates.ts"
import { runnerName } from "../../../src/services/runtime/RunnerSockets.ts"
import { defaultConfig } from "../../../src/services/runtime/Settings.ts"
import { runWords } from "./commandHarness.ts"

let folder: string
const at = (file: string) => join(folder, file)
const now = Date.now()
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "groundstate-doctor-"))
  const authority = makeAuthority("trial", { now, days: 90 })
  for (const [name, days, made] of [
    ["good", 90, now],
    ["soon", 3, now],
    ["ended", 1, now - 5 * 86_400_000],
    ["early", 90, now + 86_400_000]
  ] as const) {
    const pair = makeCertificate(authority, name, ["localhost"], { now: made, days })
    writeFileSync(at(`${name}.pem`), pair.certificate)
    writeFileSync(at(`${name}-key.pem`), pair.key, { mode: 0o600 })
  }
}, 60_000)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Status and words of one check. */
const found = (
  check: string,
  options: { readonly tokensFile?: string; readonly certificate?: string; readonly key?: string }
) =>
  checkAccess({
    ...defaultConfig,
    dataDir: at("data"),
    access: {
      ...defaultConfig.access,
      ...(options.tokensFile === undefined ? {} : { tokensFile: at(options.tokensFile) })
    },
    http: {
      ...defaultConfig.http,
      ...(options.certificate === undefined
        ? {}
        : {
            tls: {
              certificateFile: at(`${options.certificate}.pem`),
              keyFile: at(`${options.key ?? options.certificate}-key.pem`)
            }
          })
    }
  }).pipe(
    Effect.map((checks) => checks.find((one) => one.check === check)),
    Effect.map((one) => [one?.status, `${one?.found}; ${one?.fix}`] as const)
  )

it.live("finds tokens that others may read, that end soon, or that are none", () =>
  Effect.gen(function* () {
    const create = (file: string, expires: string) =>
      runWords([
        "tokens",
        "create",
        "--role",
        "admin",
        "--name",
        "x",
        "--file",
        at(file),
        "--expires",
        expires
      ])
    yield* create("tokens.json", "90d")
    expect(yield* found("tokens", { tokensFile: "tokens.json" })).toEqual(["ok", "1 hold; "])
    chmodSync(at("tokens.json"), 0o644)
    const open = yield* found("tokens", { tokensFile: "tokens.json" })
    expect(open).toEqual(["failed", expect.stringContaining("chmod 600")])
    yield* create("short.json", "2d")
    expect(yield* found("tokens", { tokensFile: "short.json" })).toEqual([
      "warning",
      expect.stringContaining("tokens rotate")
    ])
    yield* create("gone.json", "1ms")
    expect(yield* found("tokens", { tokensFile: "gone.json" })).toEqual([
      "failed",
      expect.stringContaining("nobody is answered")
    ])
    expect((yield* found("tokens", { tokensFile: "none.json" }))[0]).toBe("failed")
  })
)

it.live("finds certificates that end soon, have ended, hold only later, or lie open", () =>
  Effect.gen(function* () {
    expect((yield* found("certificate", { certificate: "good" }))[0]).toBe("ok")
    const status = (certificate: string) => found("certificate", { certificate })
    expect(yield* status("soon")).toEqual(["warning", expect.stringContaining("without a restart")])
    expect(yield* status("ended")).toEqual(["failed", expect.stringContaining("it ended")])
    expect(yield* status("early")).toEqual(["failed", expect.stringContaining("clock")])
    const mixed = yield* found("certificate", { certificate: "good", key: "soon" })
    expect(mixed).toEqual(["failed", expect.stringContaining("the key that belongs to it")])
    chmodSync(at("good-key.pem"), 0o644)
    expect(yield* status("good")).toEqual(["failed", expect.stringContaining("chmod 600")])
  })
)

it.live("says whether the region's other runners would let this one in, and whose authority says so", () =>
  Effect.gen(function* () {
    const name = runnerName("north")
    const write = (file: string, text: string) => writeFileSync(at(file), text, { mode: 0o600 })
    const [organisation, trial] = [
      makeAuthority("Example organisation", { now, days: 90 }),
      makeAuthority(`${TRIAL_AUTHORITY} (north)`, { now, days: 90 })
    ]
    write("organisation.pem", organisation.certificate)
    write("trial.pem", trial.certificate)
    for (const [file, authority, hosts] of [
      ["runner", organisation, [name]],
      ["south", organisation, [runnerName("south")]],
      ["tried", trial, [name]]
    ] as const) {
      const pair = makeCertificate(authority, file, hosts, { now, days: 60 })
      write(`${file}.pem`, pair.certificate)
      write(`${file}-key.pem`, pair.key)
    }
    const said = (own: string, authority: string) =>
      checkAccess({
        ...defaultConfig,
        region: "north",
        dataDir: at("data"),
        cluster: {
          ...defaultConfig.cluster,
          tls: {
            certificateFile: at(`${own}.pem`),
            keyFile: at(`${own}-key.pem`),
            authorityFile: at(`${authority}.pem`)
          }
        }
      }).pipe(
        Effect.map((checks) => checks.find(({ check }) => check === "runner certificate")),
        Effect.map((one) => [one?.status, `${one?.found}; ${one?.fix}`] as const)
      )
    expect((yield* said("runner", "organisation"))[0]).toBe("ok")
    expect(yield* said("tried", "trial")).toEqual(["warning", expect.stringContaining("made for a trial")])
    expect(yield* said("runner", "trial")).toEqual(["failed", expect.stringContaining("was not signed by")])
    expect(yield* said("south", "organisation")).toEqual(["failed", expect.stringContaining(name)])
    expect((yield* said("runner", "runner-key"))[0]).toBe("failed")
  })
)

it.live("finds a clock that was set back", () =>
  Effect.gen(function* () {
    const here = (dataDir: string) =>
      Effect.map(checkAccess({ ...defaultConfig, dataDir }), ([time]) => time.status)
    expect(yield* here(at("data"))).toBe("ok")
    const later = mkdtempSync(join(folder, "later-"))
    writeFileSync(join(later, "log.db"), "")
    utimesSync(join(later, "log.db"), new Date(now + 3_600_000), new Date(now + 3_600_000))
    expect(yield* here(later)).toBe("failed")
  })
)
