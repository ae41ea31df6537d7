//! The tests of the library and of the built binary, as one program, so that what they share is compiled and
//! linked once. They run at the same time in one process: what is one for the whole process, such as the kernel
//! path, is changed under a lock (`common::settings`), and memory is counted by thread (`common::memory`).
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // tests know their numbers

mod common;
mod reference;

mod against_reference;
mod cli;
mod conformance;
mod corrupt;
mod cuda;
mod damaged;
mod effort;
mod hooks;
mod hostile;
mod inputs;
mod metrics;
mod rate_control;
mod region;
mod roundtrip;
mod train;
