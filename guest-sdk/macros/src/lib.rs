//! Attribute macros of depx-sdk.
