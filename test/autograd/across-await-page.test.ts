/** The same where the platform cannot tell tasks apart, as in a page. */
import { vi } from 'vitest';
import { testInnocentCode } from '../support/across-await.ts';

vi.mock('../../src/platform/task-value.ts', () => ({ taskValue: () => null }));

testInnocentCode();
