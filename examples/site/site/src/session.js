// Who is signed in: the calls of the user pool, and the token that the API wants.

const settings = JSON.parse(document.getElementById("settings").textContent);

// Of this tab only. It is good for an hour; then one signs in again.
const kept = "token";

export const signedIn = () => sessionStorage.getItem(kept) !== null;

export const signOut = () => sessionStorage.removeItem(kept);

export const signUp = (email, password) =>
  users("SignUp", { Username: email, Password: password, UserAttributes: [{ Name: "email", Value: email }] });

export const confirm = (email, code) => users("ConfirmSignUp", { Username: email, ConfirmationCode: code });

export async function signIn(email, password) {
  const answer = await users("InitiateAuth", {
    AuthFlow: "USER_PASSWORD_AUTH",
    AuthParameters: { USERNAME: email, PASSWORD: password },
  });
  if (!answer.AuthenticationResult) throw new Error(`This page cannot answer the challenge ${answer.ChallengeName}.`);
  sessionStorage.setItem(kept, answer.AuthenticationResult.AccessToken);
}

/** Calls the API as the user who is signed in. */
export async function call(method, path, body) {
  const answer = await fetch(settings.API_URL.replace(/\/$/, "") + path, {
    method,
    headers: { authorization: `Bearer ${sessionStorage.getItem(kept)}`, ...(body && { "content-type": "application/json" }) },
    body: body && JSON.stringify(body),
  });
  if (answer.status === 401) {
    signOut();
    throw new Error("Please sign in again.");
  }
  const result = answer.status === 204 ? undefined : await answer.json();
  if (!answer.ok) throw new Error(result.message);
  return result;
}

async function users(operation, parameters) {
  const answer = await fetch(`https://cognito-idp.${settings.REGION}.amazonaws.com/`, {
    method: "POST",
    headers: {
      "content-type": "application/x-amz-json-1.1",
      "x-amz-target": `AWSCognitoIdentityProviderService.${operation}`,
    },
    body: JSON.stringify({ ClientId: settings.CLIENT_ID, ...parameters }),
  });
  const result = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(result.message ?? result.__type), { name: result.__type });
  return result;
}
