// What the event loop and a thread that has a SQLite file say to each other.

/** What the thread is started with. */
export interface SqliteStart {
  /** Path of the file; its folder exists. */
  readonly filename: string
  /** What holds for its connection, as `busy_timeout = 1000`. */
  readonly pragmas: ReadonlyArray<string>
}

export interface SqliteStatement {
  readonly text: string
  readonly values: ReadonlyArray<unknown>
}

export interface SqliteRequest {
  readonly id: number
  readonly statements: ReadonlyArray<SqliteStatement>
  /** All of them in one transaction of their own. */
  readonly atomic: boolean
  /** Rows as lists of values. */
  readonly lists: boolean
}

/** The rows of each statement, or why one of them failed. */
export type SqliteReply =
  | { readonly id: number; readonly answer: ReadonlyArray<ReadonlyArray<unknown>> }
  | { readonly id: number; readonly failure: string }

/** The `id` of a failure that is the thread's own: the file can't be opened, and nothing of what was asked was done. */
export const NEVER_OPEN = 0
