// The links of a region that can be made bad, each a relay of its own: a runner's to the database or the broker, and
// everybody's to a runner.
import type { RegionOptions } from "../test/support/region.ts"
import { type Proxy, startProxy } from "./proxy.ts"

export interface Link {
  readonly runner: string
  /** `peers`: what other runners send to this one. */
  readonly to: "database" | "broker" | "peers"
}

export interface Links {
  readonly of: (runner: string, to: Link["to"]) => Proxy
  /** Broker ports that the relays stand for: see `startKafka`. */
  readonly relays: ReadonlyArray<number>
  readonly runnerOf: NonNullable<RegionOptions["runnerOf"]>
  readonly close: () => Promise<void>
}

const keyOf = ({ runner, to }: Link) => `${runner} to ${to}`

export const openLinks = async (links: ReadonlyArray<Link>): Promise<Links> => {
  const proxies = new Map<string, Proxy>()
  // A runner's port is known when it starts: what others send to it is relayed from then on.
  for (const link of links) if (link.to !== "peers") proxies.set(keyOf(link), await startProxy())
  const brokerLinks = links.filter(({ to }) => to === "broker")
  const found = (link: Link) => proxies.get(keyOf(link))
  const listed = (runner: string, to: Link["to"]) =>
    links.some((link) => link.runner === runner && link.to === to)
  return {
    of: (runner, to) => {
      const proxy = found({ runner, to })
      if (proxy === undefined) throw new Error(`the link of ${runner} to ${to} is not relayed`)
      return proxy
    },
    relays: brokerLinks.map((link) => found(link)?.port ?? 0),
    runnerOf: async (runner, given, { kafka, postgres }) => {
      let told = given
      const database = found({ runner, to: "database" })
      if (database !== undefined) {
        database.aim(postgres.port)
        const url = new URL(given.database)
        url.port = String(database.port)
        told = { ...told, database: url.toString() }
      }
      const broker = found({ runner, to: "broker" })
      if (broker !== undefined) {
        broker.aim(kafka.relayed[brokerLinks.findIndex((link) => link.runner === runner)])
        told = { ...told, brokers: [`127.0.0.1:${broker.port}`] }
      }
      if (listed(runner, "peers")) {
        const { port } = given.cluster
        const link: Link = { runner, to: "peers" }
        // Another address of this machine, so that the relay can have the same port.
        const host = `127.0.0.${2 + links.findIndex((one) => keyOf(one) === keyOf(link))}`
        const peers = found(link) ?? (await startProxy({ host, port }))
        proxies.set(keyOf(link), peers)
        peers.aim(port)
        told = { ...told, cluster: { ...given.cluster, host, listenHost: "127.0.0.1" } }
      }
      return { given: told }
    },
    close: async () => {
      for (const proxy of proxies.values()) await proxy.close()
    }
  }
}
