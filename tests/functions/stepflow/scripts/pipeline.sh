# Ten steps of a release, one of which may fail; with CRITICAL=yes the last one must not and does.
echo "preparing on $(uname -s)"
echo "META: release: 1.2.3"
echo "STEP_START: Checkout [duration=2] {branch:main} --depth=1"
echo "12 files"
echo "STEP_COMPLETE: Checkout"
echo "between the steps"
echo "STEP_START: Configure"
echo "META: DESCRIPTION: writes the configuration"
echo "META: ESTIMATED_DURATION: 4.5"
printf 'a=1\nb=2\n' > config.txt
echo "ARTIFACT: config.txt: what was configured"
echo "STEP_START: Compile [jobs=4] [stop_on_error=true]"
echo "cc a.c"
echo "cc b.c" >&2
echo "STEP_COMPLETE: Compile"
echo "$(date +%H:%M) STEP_START: Lint"
echo "STEP_ERROR: 3 warnings: style"
echo "STEP_START: Unit tests"
mkdir -p reports/html
echo '<p>42 passed</p>' > reports/html/index.html
echo '{"passed": 42}' > reports/summary.json
echo "Uploading artifact: reports: all reports"
echo "ARTIFACT: reports/summary.json"
echo "STEP_COMPLETE: Unit tests"
echo "STEP_START: Coverage"
echo "ARTIFACT: coverage.xml: never written"
echo "STEP_COMPLETE: another step"
echo "STEP_COMPLETE: Coverage"
echo "step_start: Package {format:tar} --compress=true"
head -c 300000 /dev/zero | tr '\0' 'x' > package.bin
echo "ARTIFACT: package.bin"
echo "// STEP_COMPLETE: Package"
echo "STEP_START: Sign"
echo "META: key: release: 2026"
echo "STEP_COMPLETE: Sign"
echo "STEP_START: Upload [retries=3] [timeout=1.5]"
for part in 1 2 3; do echo "part $part"; done
echo "STEP_COMPLETE: Upload"
echo "STEP_START: Publish [stop_on_error=true]"
if [ "$CRITICAL" = yes ]; then
  echo "STEP_ERROR: registry refused"
  sleep 60
  echo "STEP_START: never"
fi
printf 'done'
