/**
 * Errors of the commands in this folder. Each has a one-line message for the user and leads to an exit code.
 */

/** An option is missing, unknown or has a bad value; exit code 2. */
export class UsageError extends Error {}

/** A run cannot start or continue; exit code 1. */
export class RunError extends Error {}
