/** What became of a session: as it is after the change, or as it was where it lost something. docs/events.md has the table. */
export class SessionEvent {
  private constructor();
  readonly what:
    | "created"
    | "updated"
    | "rotated"
    | "bound"
    | "unbound"
    | "taken_over"
    | "recovered"
    | "arrived"
    | "departed"
    | "ended";
  /** `login` of a rotation to another user. Of what ended, why. */
  readonly why: "" | "login" | "deleted" | "evicted" | "expired" | "withdrawn" | "corrupt" | "lost";
  readonly id: string;
  readonly user: string | null;
  readonly connection: string | null;
  readonly node: string | null;
  /** That the change made; of what expired or was withdrawn, that it had; 0 where nothing is known but the id. */
  readonly version: number;
  /** The id under which it goes on: of what was rotated, and of what a login took elsewhere. */
  readonly newId: string | null;
}

/** Events of a partition were missed: who keeps a picture of the sessions has to read them anew. */
export interface Lagged {
  readonly what: "lagged";
  readonly partition: number;
}

/**
 * What became of sessions, as it is told: it waits for the next one, and ends when it is closed, or its store is. A loop that
 * is left closes it. Each event is told at least once. Who takes them slowly is waited for, up to what the streams keep.
 */
export interface Events extends AsyncIterableIterator<SessionEvent | Lagged> {
  /**
   * Up to where it was read: behind what was told last. A text, by which a store of any language goes on there: keep it once
   * what was told is heeded.
   */
  readonly position: string;
  close(): Promise<void>;
}
