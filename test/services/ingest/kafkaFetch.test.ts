// Fetch requests, byte for byte as kafkajs writes them.
import { createRequire } from "node:module"
import { expect, it } from "vitest"
import { encodeFetchRequest } from "../../../src/services/ingest/kafkaFetch.ts"

const load = createRequire(import.meta.url)
const wanted = [
  { topic: "flows", partition: 3, offset: 0, bytesMax: 1_048_576 },
  { topic: "flows", partition: 1, offset: 4_294_967_301, bytesMax: 77 },
  { topic: "größen", partition: 0, offset: 9_007_199_254_740_991, bytesMax: 1 },
  { topic: "flows", partition: 2, offset: 12, bytesMax: 5 }
]

it.each([4, 5, 6, 7, 8, 9, 10, 11])("version %i", async (version) => {
  const request = load(`kafkajs/src/protocol/requests/fetch/v${version}/request.js`)
  const theirs = await request({
    replicaId: -1,
    maxWaitTime: 100,
    minBytes: 1,
    maxBytes: 8_388_608,
    isolationLevel: 1,
    rackId: "",
    topics: [wanted.slice(0, 2), wanted.slice(2, 3), wanted.slice(3)].map((run) => ({
      topic: run[0].topic,
      partitions: run.map(({ partition, offset, bytesMax }) => ({
        partition,
        fetchOffset: String(offset),
        maxBytes: bytesMax
      }))
    }))
  }).encode()
  const ours = encodeFetchRequest({ maxWaitMillis: 100, bytesMax: 8_388_608, wanted }, version)
  expect(ours.toString("hex")).toBe(theirs.buffer.toString("hex"))
})
