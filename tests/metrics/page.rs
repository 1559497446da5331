//! docs/operating.md, whose examples are compiled with what a service has that is told of by metrics.

#![cfg_attr(all(doctest, feature = "alone"), doc = include_str!("../../docs/operating.md"))]
