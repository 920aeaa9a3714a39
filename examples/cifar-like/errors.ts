/**
 * What goes wrong outside the library: one line for the user, and the exit code it ends with.
 */

/** An option that cannot be used; exit code 2. */
export class UsageError extends Error {}

/** A run that cannot start or go on; exit code 1. */
export class RunError extends Error {}
