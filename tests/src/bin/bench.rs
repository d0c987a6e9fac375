//! `make bench`: measures Lockstep on a real control plane; a table on standard output, JSON in `target/bench.json`.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use lockstep_tests::bench::report::Report;
use lockstep_tests::bench::{Options, run};

fn main() -> Result<()> {
    let options = Options::read(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut report = Report::new();
    let ended = runtime.block_on(run(&options, &mut report));
    let file = lockstep_tests::controlplane::workspace().join("target/bench.json");
    std::fs::write(&file, format!("{:#}\n", report.json()))
        .with_context(|| format!("{} cannot be written", file.display()))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", report.table())?;
    match report.missed() {
        0 => writeln!(out, "No goal was missed. {} holds more.", file.display())?,
        missed => writeln!(
            out,
            "{missed} goals were missed. {} holds more.",
            file.display()
        )?,
    }
    ended
}
