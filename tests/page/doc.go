// Package page looks at a report's page in a browser. Its test needs Chromium and a page with the JSON of the same run: `make test-page` makes both.
package page
