//! The example that the README of the repository has for axum.

#[test]
fn the_readme_has_the_example_as_it_is_built() {
    let readme = include_str!("../../../../README.md");
    let (_, example) = include_str!("../../examples/devices.rs").split_once("\n\n").unwrap();
    let (_, behind) = readme.split_once("```rust,ignore\n").unwrap();
    assert_eq!(behind.split_once("```\n").unwrap().0, example);
}
