#!/usr/bin/env bash
# The whole path on a synthetic cohort: draw it, divide it, train the CHS-NET cascade with hard-example mining on one fold,
# detect on its held-out cases, score, report. Everything goes into demo/ and is made anew each time.
set -euo pipefail
cd "$(dirname "$0")"
rm -rf demo
mkdir demo

echo "1. a synthetic cohort with known truth"
mitosieve phantom demo/cohort --cases 10 --slides-per-case 2 --size 832 --seed 7
echo "2. folds, by case"
mitosieve split demo/cohort --folds 5 --seed 1 --out demo/split.json
echo "3. train: screening network, hard example mining, refined network"
mitosieve train chsnet-small demo/cohort --split demo/split.json --fold A --out demo/run \
  --set screening.patch_visits=12000 --set refined.patch_visits=18000 --set cascade.proposer.min_darkness=0
echo "4. detect on the held-out cases"
mitosieve detect demo/run --cohort demo/cohort --split demo/split.json --fold A --out demo/run/test
echo "5. score, by the official rule"
mitosieve evaluate demo/run/test demo/cohort --split demo/split.json --fold A
echo "6. report (synthetic cells: this score says nothing of accuracy on tissue)"
mitosieve report demo/run
