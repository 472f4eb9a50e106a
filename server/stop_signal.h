#pragma once

namespace spatialmamba {

// From now on the first SIGTERM or SIGINT is kept for WaitForStopSignal; the second ends the
// process at once with exit code 1. Call it once, before threads start.
void CatchStopSignals();

// Waits for the first, or for a RequestStop.
void WaitForStopSignal();
// Thread-safe.
void RequestStop();

}  // namespace spatialmamba
