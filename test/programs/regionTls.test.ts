// F1 F11 under mutual TLS: runners of a region that know each other by certificate, and nobody else. I1 I9 I12.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { connect as connectPlain } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type ConnectionOptions, connect } from "node:tls"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { makeAuthority, makeCertificate, type Pair } from "../../src/services/runtime/access/certificates.ts"
import { runnerName } from "../../src/services/runtime/RunnerSockets.ts"
import { kafkaAvailable } from "../support/kafka.ts"
import { PROBE_PARTITIONS, probeEvent, probeStream } from "../support/probeStream.ts"
import { divided, probe, type RegionWorld, startRegion } from "../support/region.ts"
import { until } from "../support/runner.ts"

const folder = mkdtempSync(join(tmpdir(), "groundstate-region-tls-"))
const at = (file: string) => join(folder, file)
const made = { now: Date.now(), days: 1 }
const names = [runnerName("test")]
let region: RegionWorld
let authority: Pair
/** Where runners listen for each other. */
const ports = new Map<string, number>()

/** What becomes of somebody who comes to a runner's port with this, and then speaks. */
const visit = (port: number, options: ConnectionOptions) =>
  new Promise<"heard" | "closed">((resolve) => {
    const socket = connect({
      host: "127.0.0.1",
      port,
      ca: authority.certificate,
      checkServerIdentity: () => undefined,
      ...options
    })
    socket.on("secureConnect", () => socket.write("{}\n"))
    socket.on("data", () => resolve("heard"))
    socket.on("error", () => resolve("closed"))
    socket.on("close", () => resolve("closed"))
  })
const visitPlainly = (port: number) =>
  new Promise<"heard" | "closed">((resolve) => {
    const socket = connectPlain(port, "127.0.0.1", () => socket.write("GET / HTTP/1.1\r\n\r\n"))
    let heard = 0
    socket.on("data", ({ length }) => {
      // An alert of TLS is seven bytes.
      heard += length
    })
    socket.on("error", () => resolve("closed"))
    socket.on("close", () => resolve(heard > 7 ? "heard" : "closed"))
  })

describe.skipIf(!kafkaAvailable())("a region whose runners have certificates", () => {
  beforeAll(async () => {
    authority = makeAuthority("trial", made)
    const own = makeCertificate(authority, "runner", names, made)
    writeFileSync(at("ca.pem"), authority.certificate)
    writeFileSync(at("runner.pem"), own.certificate)
    writeFileSync(at("runner-key.pem"), own.key)
    const tls = {
      certificateFile: at("runner.pem"),
      keyFile: at("runner-key.pem"),
      authorityFile: at("ca.pem")
    }
    region = await startRegion({
      folder,
      stream: probeStream,
      runnerOf: async (name, given) => {
        ports.set(name, given.cluster.port)
        return { given: { ...given, cluster: { ...given.cluster, tls } } }
      }
    })
  }, 120_000)
  afterAll(async () => {
    await region.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  it("divide the cells, speak for each other, let no stranger in, and take over from one that is killed", async () => {
    const [a, b] = await Promise.all([region.start("a"), region.start("b")])
    await Promise.all([a.ready(), b.ready()])
    const had = (await divided(a, [4, 4])).get("b") ?? []

    // One device's cell lives on one of them: the other asks it.
    const verdicts = await until("a verdict from either", async () => {
      const answers = await Promise.all(
        [a, b].map((one) =>
          one.ask("POST", "/v1/score?stream=probe", { device: "somebody", ts: 1_760_000_900_000, load: 700 })
        )
      )
      return answers.every(({ status, body }) => status === 200 && !body.fallback) ? answers : undefined
    })
    expect(new Set(verdicts.map(({ body }) => body.partition)).size).toBe(1)

    const foreign = makeCertificate(makeAuthority("trial", made), "runner", names, made)
    const elsewhere = makeCertificate(authority, "runner", [runnerName("another")], made)
    const port = ports.get("a") ?? 0
    expect(await visit(port, {})).toBe("closed")
    expect(await visit(port, { cert: foreign.certificate, key: foreign.key })).toBe("closed")
    expect(await visit(port, { cert: elsewhere.certificate, key: elsewhere.key })).toBe("closed")
    expect(await visitPlainly(port)).toBe("closed")

    const running = await probe(region, probeStream.source.topic, PROBE_PARTITIONS, probeEvent)
    await until("the probe to run", async () =>
      running.sent.every((list) => list.some(({ seenAt }) => seenAt > 0)) ? true : undefined
    )
    const killed = performance.now()
    await b.kill9()
    const recovery = await running.recovery(killed, had)
    await (await region.start("b")).ready()
    await divided(a, [4, 4])
    await running.finish()
    process.stderr.write(`takeover after SIGKILL under mutual TLS: ${Math.round(recovery)} ms\n`)
    expect(recovery).toBeLessThan(5_000)
    // One statement at a time on the session that holds the locks.
    for (const runner of region.runners.values()) {
      expect(runner.said()).not.toContain("already executing a query")
    }
    for (const runner of region.runners.values()) expect((await runner.stop()).code).toBe(0)
  }, 180_000)
})
