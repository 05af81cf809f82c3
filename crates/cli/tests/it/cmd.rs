//! Transcripts under `tests/cmd`: what is typed, what comes back, and the exit code.

#[test]
fn transcripts_hold() {
    trycmd::TestCases::new()
        .env("NO_COLOR", "1")
        .env("COLUMNS", "80")
        .case("tests/cmd/*.trycmd");
}
