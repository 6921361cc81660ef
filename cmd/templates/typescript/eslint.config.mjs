import js from "@eslint/js";
import ts from "typescript-eslint";

export default ts.config({ ignores: [".sst/"] }, js.configs.recommended, ts.configs.recommended);
