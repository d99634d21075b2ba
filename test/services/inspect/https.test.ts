// The API over HTTPS: the same surface, and a certificate that changes without a restart.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { request } from "node:https"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { TLSSocket } from "node:tls"
import { FetchHttpClient } from "@effect/platform"
import { Effect } from "effect"
import { afterAll, beforeAll, expect, it } from "vitest"
import { checkPort } from "../../../src/services/cli/checks.ts"
import { defaultConfig } from "../../../src/services/runtime/Settings.ts"
import { runWords } from "../cli/commandHarness.ts"
import { type Surface, startSurface } from "./surface.ts"

let folder: string
let surface: Surface
const at = (file: string) => join(folder, file)
const create = (...words: ReadonlyArray<string>) =>
  Effect.runPromise(runWords(["certificates", "create", "--output", folder, ...words]))
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "groundstate-https-"))
  expect((await create("--host", "127.0.0.9")).code).toBe(0)
  surface = await startSurface({
    http: { tls: { certificateFile: at("runner.pem"), keyFile: at("runner-key.pem") } }
  })
}, 60_000)
afterAll(async () => {
  await surface.stop()
  rmSync(folder, { recursive: true, force: true })
})

const ask = (path: string) =>
  new Promise<{ readonly status: number | undefined; readonly name: string }>((resolve, reject) => {
    const sent = request(
      { host: "127.0.0.1", port: surface.port, path, ca: readFileSync(at("ca.pem")), agent: false },
      (response) => {
        const name = String((response.socket as TLSSocket).getPeerCertificate().subject.CN)
        response.resume()
        response.once("end", () => resolve({ status: response.statusCode, name }))
      }
    )
    sent.once("error", reject)
    sent.end()
  })

it("answers over TLS, and nobody in plain words", async () => {
  expect(await ask("/livez")).toEqual({ status: 200, name: "runner" })
  await expect(fetch(`http://127.0.0.1:${surface.port}/livez`)).rejects.toThrow("fetch failed")
})

it("is known to doctor as a runner, though nobody here trusts its authority", async () => {
  const tls = { certificateFile: at("runner.pem"), keyFile: at("runner-key.pem") }
  const http = { ...defaultConfig.http, port: surface.port, tls }
  const check = await Effect.runPromise(
    checkPort({ ...defaultConfig, http }).pipe(Effect.provide(FetchHttpClient.layer))
  )
  expect(check.found).toMatch(`a runner answers at 127.0.0.1:${surface.port}`)
})

it("keeps keys for their owner, and overwrites nothing", async () => {
  const key = readFileSync(at("runner-key.pem"), "utf8")
  const again = await create()
  expect([again.code, again.err]).toEqual([1, expect.stringContaining("EEXIST")])
  expect(readFileSync(at("runner-key.pem"), "utf8")).toBe(key)
})

it("shows the new certificate once its files have changed", async () => {
  expect((await create("--name", "second")).code).toBe(0)
  writeFileSync(at("runner-key.pem"), readFileSync(at("second-key.pem")))
  writeFileSync(at("runner.pem"), readFileSync(at("second.pem")))
  const renewed = async (): Promise<string> => {
    const { name } = await ask("/livez")
    return name === "second" ? name : renewed()
  }
  expect(await renewed()).toBe("second")
}, 60_000)
