// Sockets between runners under mutual TLS: strangers end at the handshake, before a byte of theirs is read as a message.
import { checkServerIdentity, connect, createServer, type TLSSocket } from "node:tls"
import { Runners, ShardingConfig } from "@effect/cluster"
import { Socket, SocketServer } from "@effect/platform"
import { NodeSocket } from "@effect/platform-node"
import { RpcClient, RpcSerialization } from "@effect/rpc"
import { Effect, FiberSet, Layer, Option, type Scope } from "effect"
import type { ConfigInvalid } from "../../schema/error/ConfigError.ts"
import { followIdentity, type IdentityFiles, type LiveIdentity } from "./access/liveIdentity.ts"

/** A runner's certificate, its key, and the authority that signs every runner's. */
export interface RunnerIdentity extends Required<IdentityFiles> {
  readonly authorityFile: string
  /** Region whose runners talk to each other. */
  readonly region: string
}

/** A connection that is not there after this long is not there. */
const OPEN_MILLIS = 1_000
/** Whoever has not shown a certificate after this long is cut off. */
const HANDSHAKE_MILLIS = 2_000
/** Connections at once, those in their handshake among them; more are closed unseen. */
const CONNECTIONS_MAX = 1_024
/** Longest message between runners; a longer one ends its connection. */
export const MESSAGE_BYTES_MAX = 16 * 1024 * 1024

const SECTION = "cluster.tls"
/** Both ends are runners of one version, so nothing older is needed. */
const VERSION = "TLSv1.3"

/**
 * The name that certificates of a region's runners bear, whatever machine they run on: an authority that also signs
 * other certificates lets nobody else in, and a runner of one region not into another.
 */
export const runnerName = (region: string): string =>
  `runner.${region.toLowerCase().replaceAll(/[^a-z0-9-]+/g, "-")}.groundstate.internal`

/** Does the other side bear the name? Whether its certificate is the authority's, TLS has checked. */
const isRunner = (conn: TLSSocket, name: string): boolean =>
  conn.authorized && checkServerIdentity(name, conn.getPeerCertificate()) === undefined

const scoped = (conn: TLSSocket) =>
  Effect.acquireRelease(
    conn.destroyed
      ? Effect.fail(new Socket.SocketCloseError({ reason: "Close", code: 1006 }))
      : Effect.succeed(conn),
    (it) =>
      Effect.sync(() => {
        if (!it.closed) it.destroySoon()
      })
  )

/** Takes connections of runners of the region; port 0 takes a free one. */
export const makeServer = (
  identity: RunnerIdentity,
  at: { readonly host: string; readonly port: number }
): Effect.Effect<
  SocketServer.SocketServer["Type"],
  SocketServer.SocketServerError | ConfigInvalid,
  Scope.Scope
> =>
  Effect.gen(function* () {
    const name = runnerName(identity.region)
    const options = { requestCert: true, rejectUnauthorized: true, minVersion: VERSION } as const
    let renew = (_: LiveIdentity): void => undefined
    const live: LiveIdentity = yield* followIdentity(SECTION, identity, () => renew(live))
    const waiting = new Set<TLSSocket>()
    let take = (conn: TLSSocket): void => void waiting.add(conn)
    const server = createServer({ ...options, ...live.current(), handshakeTimeout: HANDSHAKE_MILLIS })
    server.maxConnections = CONNECTIONS_MAX
    renew = ({ current }) => server.setSecureContext({ ...options, ...current() })
    server.on("secureConnection", (conn) => {
      conn.on("error", () => conn.destroy())
      conn.setNoDelay(true)
      conn.setKeepAlive(true, OPEN_MILLIS)
      if (isRunner(conn, name)) take(conn)
      else conn.destroy()
    })
    yield* Effect.addFinalizer(() =>
      Effect.async<void>((resume) => {
        for (const conn of waiting) conn.destroy()
        if (server.listening) server.close(() => resume(Effect.void))
        else resume(Effect.void)
      })
    )
    yield* Effect.async<void, SocketServer.SocketServerError>((resume) => {
      const failed = (cause: Error) =>
        resume(Effect.fail(new SocketServer.SocketServerError({ reason: "Open", cause })))
      server.once("error", failed)
      server.listen({ host: at.host, port: at.port }, () => {
        server.off("error", failed)
        server.on("error", () => undefined)
        resume(Effect.void)
      })
    })
    const address = server.address() as { readonly address: string; readonly port: number }

    const run = <R, E, _>(
      handler: (socket: Socket.Socket) => Effect.Effect<_, E, R>
    ): Effect.Effect<never, SocketServer.SocketServerError, R> =>
      Effect.scoped(
        Effect.gen(function* () {
          const fork = yield* FiberSet.makeRuntime<R>()
          const handle = (conn: TLSSocket) => {
            NodeSocket.fromDuplex(scoped(conn)).pipe(
              Effect.flatMap(handler),
              Effect.catchAllCause((cause) => Effect.logDebug("A connection between runners ended", cause)),
              Effect.ensuring(Effect.sync(() => conn.destroy())),
              fork
            )
          }
          const before = take
          take = handle
          yield* Effect.addFinalizer(() =>
            Effect.sync(() => {
              take = before
            })
          )
          for (const conn of waiting) handle(conn)
          waiting.clear()
          return yield* Effect.never
        })
      )
    return SocketServer.SocketServer.of({
      address: { _tag: "TcpAddress", hostname: address.address, port: address.port },
      run
    })
  })

/** A socket to a runner of the region. Every run of it is a new connection, with the certificate that holds then. */
export const makeClient = (
  identity: RunnerIdentity,
  live: LiveIdentity,
  to: { readonly host: string; readonly port: number }
): Effect.Effect<Socket.Socket> => {
  const servername = runnerName(identity.region)
  const open = Effect.suspend(() =>
    Effect.acquireRelease(
      Effect.succeed(
        connect({
          ...live.current(),
          host: to.host,
          port: to.port,
          servername,
          minVersion: VERSION,
          rejectUnauthorized: true
        })
      ),
      (conn) => Effect.sync(() => conn.destroySoon())
    )
  ).pipe(
    Effect.flatMap((conn) =>
      Effect.async<TLSSocket, Socket.SocketError>((resume) => {
        conn.setNoDelay(true)
        conn.setKeepAlive(true, OPEN_MILLIS)
        conn.once("secureConnect", () => resume(Effect.succeed(conn)))
        conn.on("error", (cause) =>
          resume(Effect.fail(new Socket.SocketGenericError({ reason: "Open", cause })))
        )
        conn.once("close", () =>
          resume(Effect.fail(new Socket.SocketCloseError({ reason: "Close", code: 1006 })))
        )
      })
    )
  )
  return NodeSocket.fromDuplex(open, { openTimeout: OPEN_MILLIS + HANDSHAKE_MILLIS })
}

/** In the place of `NodeClusterSocket.layerSocketServer`. */
export const layerSocketServer = (
  identity: RunnerIdentity
): Layer.Layer<
  SocketServer.SocketServer,
  SocketServer.SocketServerError | ConfigInvalid,
  ShardingConfig.ShardingConfig
> =>
  Layer.scoped(
    SocketServer.SocketServer,
    Effect.gen(function* () {
      const { runnerAddress, runnerListenAddress } = yield* ShardingConfig.ShardingConfig
      const at = Option.getOrThrow(Option.orElse(runnerListenAddress, () => runnerAddress))
      return yield* makeServer(identity, at)
    })
  )

/** In the place of `NodeClusterSocket.layerClientProtocol`. */
export const layerClientProtocol = (
  identity: RunnerIdentity
): Layer.Layer<Runners.RpcClientProtocol, ConfigInvalid, RpcSerialization.RpcSerialization> =>
  Layer.scoped(
    Runners.RpcClientProtocol,
    Effect.gen(function* () {
      const serialization = yield* RpcSerialization.RpcSerialization
      const live = yield* followIdentity(SECTION, identity)
      return (address) =>
        Effect.gen(function* () {
          const socket = yield* makeClient(identity, live, address)
          return yield* RpcClient.makeProtocolSocket().pipe(
            Effect.provideService(Socket.Socket, socket),
            Effect.provideService(RpcSerialization.RpcSerialization, serialization)
          )
        }).pipe(Effect.orDie)
    })
  )

/** MessagePack, bounded in what one message may make a runner hold. */
export const layerSerialization = RpcSerialization.layerMsgPackWith({
  useRecords: true,
  maxBufferSize: MESSAGE_BYTES_MAX
})
